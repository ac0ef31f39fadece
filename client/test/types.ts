// Compiled by package.test.mjs, never run.
import { io, type Socket } from 'socket.io-client';
import { connect, type Connection, type Refusal } from 'socketiojwt-client';

interface FromServer { news: (text: string) => void }
interface ToServer { chat: (text: string) => void }

const simple = connect(io, '/', { token: () => 'token' });
simple.socket.emit('chat', 'hello');
simple.close();

const typed: Connection<Socket<FromServer, ToServer>> = connect(io, '/', {
  token: async () => null,
  mode: 'roundtrip',
  onOut: (reason: Refusal) => console.log(reason.code, reason.message),
  transports: ['websocket'],
  reconnectionDelay: 100
});
typed.socket.emit('chat', 'hello');
// @ts-expect-error: no event of this server
typed.socket.emit('cat', 'hello');
// @ts-expect-error: no mode
connect(io, '/', { token: () => 'token', mode: 'both' });
// @ts-expect-error: no token
connect(io, '/', {});
// @ts-expect-error: no such option of io
connect(io, '/', { token: () => 'token', transport: ['polling'] });
