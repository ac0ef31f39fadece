// Compiled by package.test.mjs, never run: the same from CommonJS.
import { io } from 'socket.io-client';
import { connect } from 'socketiojwt-client';

const { socket, close } = connect(io, '/', { token: () => 'token' });
socket.emit('chat', 'hello');
close();
