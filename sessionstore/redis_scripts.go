package sessionstore

import (
	_ "embed" // the scripts

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed lua/create.lua
	createSource string
	//go:embed lua/claim.lua
	claimSource string
	//go:embed lua/persist.lua
	persistSource string
	//go:embed lua/update.lua
	updateSource string
	//go:embed lua/release.lua
	releaseSource string
	//go:embed lua/delete.lua
	deleteSource string
	//go:embed lua/lease.lua
	leaseSource string
	//go:embed lua/holder.lua
	holderSource string
	//go:embed lua/leave.lua
	leaveSource string
	//go:embed lua/takeslot.lua
	takeSlotSource string
	//go:embed lua/freeslot.lua
	freeSlotSource string
)

var (
	createScript   = redis.NewScript(createSource)
	claimScript    = redis.NewScript(claimSource)
	persistScript  = redis.NewScript(persistSource)
	updateScript   = redis.NewScript(updateSource)
	releaseScript  = redis.NewScript(releaseSource)
	deleteScript   = redis.NewScript(deleteSource)
	leaseScript    = redis.NewScript(leaseSource)
	holderScript   = redis.NewScript(holderSource)
	leaveScript    = redis.NewScript(leaveSource)
	takeSlotScript = redis.NewScript(takeSlotSource)
	freeSlotScript = redis.NewScript(freeSlotSource)
)
