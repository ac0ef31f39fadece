package socketiojwt

import (
	"encoding/json"
	"strconv"

	"github.com/go-socketiojwt/socketiojwt/internal/transport"
)

// The Socket.IO packets this package sends. They go straight into the outbox: Emit
// would hand them to another goroutine, and "reason, then close" must stay in order.

func connectPacket(namespace string) string { return string(transport.Connect) + path(namespace, "") }

func disconnectPacket(namespace string) string {
	return string(transport.Disconnect) + path(namespace, "")
}

func errorPacket(namespace string, err *UnauthorizedError) string {
	return string(transport.Error) + path(namespace, ",") + encode(err)
}

// invalidNamespacePacket is what Node's socket.io 2 answers to a CONNECT for a
// namespace that does not exist.
func invalidNamespacePacket(namespace string) string {
	return string(transport.Error) + path(namespace, ",") + `"Invalid namespace"`
}

func authenticatedPacket(namespace string) string {
	return string(transport.Event) + path(namespace, ",") + `["authenticated"]`
}

// unauthorizedPacket always asks for an acknowledgement: socketio-jwt's clients call
// the callback without looking whether there is one.
func unauthorizedPacket(namespace string, id uint64, err *UnauthorizedError) string {
	return string(transport.Event) + path(namespace, ",") + strconv.FormatUint(id, 10) +
		`["unauthorized",{"message":` + encode(err.Message) + `,"data":` + encode(err) + `}]`
}

func tokenExpiringPacket(namespace string, seconds int) string {
	return string(transport.Event) + path(namespace, ",") + `["token_expiring",{"expiresIn":` + strconv.Itoa(seconds) + `}]`
}

// path is how a packet names its namespace: the root has no name.
func path(namespace, end string) string {
	if namespace == root {
		return ""
	}
	return namespace + end
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and UnauthorizedErrors can always be encoded
	}
	return string(b)
}

const root = "/"

// normalise gives the root its one name: go-socket.io calls it "/" or "".
func normalise(namespace string) string {
	if namespace == "" {
		return root
	}
	return namespace
}
