package main

import (
	"slices"
	"strings"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/golang-jwt/jwt/v5"
	socketio "github.com/googollee/go-socket.io"
)

type claims struct {
	jwt.RegisteredClaims
	Teams []string `json:"teams"`
}

// teamRoom names the room of a team, and says whether its members may be together with this user.
func teamRoom(session *socketiojwt.Session, team string) (room string, ok bool) {
	c, _ := socketiojwt.ClaimsOf[*claims](session)
	return "team:" + team, c != nil && slices.Contains(c.Teams, team)
}

func register(sio *socketiojwt.Server, auth *socketiojwt.Authorizer) {
	sio.OnEvent("/", "join", func(s socketio.Conn, team string) string {
		session, _ := auth.Session(s)
		room, ok := teamRoom(session, team)
		if !ok {
			return "forbidden"
		}
		s.Join(room)
		return "joined"
	})
	// Who sends need not be in the room, so it is asked again.
	sio.OnEvent("/", "say", func(s socketio.Conn, team, text string) string {
		session, _ := auth.Session(s)
		room, ok := teamRoom(session, team)
		if !ok {
			return "forbidden"
		}
		sio.In("/", room).Emit("said", team, session.Subject(), text)
		return "said"
	})
}

// leaveLost is Options.OnRefreshed: a newer token may have fewer teams.
func leaveLost(s socketio.Conn, _, session *socketiojwt.Session) {
	for _, room := range s.Rooms() {
		team, isTeam := strings.CutPrefix(room, "team:")
		if _, ok := teamRoom(session, team); isTeam && !ok {
			s.Leave(room)
		}
	}
}
