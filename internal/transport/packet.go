package transport

// Engine.IO packet types, the same in versions 3 and 4 (engine.io-protocol, "Packet").
const (
	typeOpen    = '0'
	typeClose   = '1'
	typePing    = '2'
	typePong    = '3'
	typeMessage = '4'
	typeUpgrade = '5'
	typeNoop    = '6'

	// controlPong is not Engine.IO's: it answers a ping of WebSocket.
	controlPong = 'P'
)

// binaryMessage is how a binary packet of version 3 says that it is a MESSAGE.
const binaryMessage = typeMessage - '0'

// packet is one Engine.IO packet. A binary one carries an attachment and is always a MESSAGE.
type packet struct {
	typ    byte
	binary bool
	data   []byte // with the type in front, as a WebSocket frame of version 3 has it
}

func (p packet) payload() []byte { return p.data[1:] }

// size is what a packet counts while it waits. It is more than the bytes of the packet, because a
// client can make the server hold very many empty ones.
func (p packet) size() int { return len(p.data) + overhead }

const overhead = 64

var errPayload error = BadPayload

func isPacketType(b byte) bool { return typeOpen <= b && b <= typeNoop }
