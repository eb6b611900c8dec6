package xmlframe

// Faults are values: finding one costs a hostile peer's victim no allocation.
var (
	faultChar      = &Error{NotWellFormed, "character that XML does not allow"}
	faultUTF8      = &Error{NotWellFormed, "bytes that are not UTF-8"}
	faultName      = &Error{NotWellFormed, "malformed name"}
	faultTag       = &Error{NotWellFormed, "malformed tag"}
	faultLess      = &Error{NotWellFormed, "'<' in an attribute value"}
	faultMarkup    = &Error{NotWellFormed, "malformed markup"}
	faultReference = &Error{NotWellFormed, "malformed reference"}
	faultCDATAEnd  = &Error{NotWellFormed, "']]>' in character data"}
	faultBalance   = &Error{NotWellFormed, "end tag does not match the start tag"}
	faultAttribute = &Error{NotWellFormed, "duplicate attribute"}
	faultOutside   = &Error{NotWellFormed, "character data outside an element"}
	faultDecl      = &Error{NotWellFormed, "malformed XML declaration"}
	faultEnd       = &Error{NotWellFormed, "input after the end of the root"}

	faultUndeclared = &Error{NotWellFormed, "undeclared namespace prefix"}
	faultEmptySpace = &Error{NotWellFormed, "prefix declared without a namespace name"}
	faultReserved   = &Error{BadNamespacePrefix, "reserved namespace prefix or name"}

	faultComment     = &Error{RestrictedXML, "comment"}
	faultInstruction = &Error{RestrictedXML, "processing instruction"}
	faultDTD         = &Error{RestrictedXML, "document type declaration"}
	faultEntity      = &Error{RestrictedXML, "reference to an entity that is not predefined"}

	faultEncoding = &Error{UnsupportedEncoding, "encoding is not UTF-8"}

	faultBytes      = &Error{PolicyViolation, "element is too big"}
	faultDeclBytes  = &Error{PolicyViolation, "XML declaration is too long"}
	faultDepth      = &Error{PolicyViolation, "elements are nested too deeply"}
	faultAttributes = &Error{PolicyViolation, "too many attributes"}
	faultNameBytes  = &Error{PolicyViolation, "name is too long"}
)
