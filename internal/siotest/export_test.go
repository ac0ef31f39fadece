package siotest

// Assembler gives the black-box tests the assembler.
type Assembler struct{ a assembler }

func NewAssembler(number int) *Assembler {
	v, err := versionOf(number)
	if err != nil {
		panic(err)
	}
	return &Assembler{assembler{version: v}}
}

func (a *Assembler) Add(p EnginePacket) (*Packet, error) { return a.a.add(p) }

var EncodePacket = encodePacket
