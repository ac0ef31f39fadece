package siotest

// Assembler gives the black-box tests the assembler.
type Assembler struct{ a assembler }

func (a *Assembler) Add(p EnginePacket) (*Packet, error) { return a.a.add(p) }

var EncodePacket = encodePacket
