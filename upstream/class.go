package upstream

// Class says how a session can be taken over by another replica (failover design §3).
type Class string

// The classes, best first.
const (
	ClassFAST     Class = "fast"     // by a token of SASL2 and FAST
	ClassPassword Class = "password" // by the password that the browser sent in PLAIN; opt-in: ?reauth=password
	ClassExternal Class = "external" // by SASL EXTERNAL and a CA of the operator; opt-in: ?reauth=external
	ClassNone     Class = "none"     // not at all
)

// reauth is what a domain's operator allows beyond FAST.
type reauth uint8

const (
	reauthFAST reauth = iota
	reauthPassword
	reauthExternal
)

// credential is what a session is signed in again with. Its zero value is that of ClassNone.
type credential struct {
	class    Class
	token    *token // ClassFAST
	password string // ClassPassword
}

// secret is the part that has to be sealed.
func (c credential) secret() string {
	if c.class == ClassFAST {
		return c.token.secret
	}
	return c.password
}

// Classes lists all, so that series can be made beforehand.
func Classes() []Class { return []Class{ClassFAST, ClassPassword, ClassExternal, ClassNone} }
