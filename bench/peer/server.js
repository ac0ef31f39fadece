// A socket.io server with socketio-jwt, to be measured: node --expose-gc server.js VARIANT KEY.
// It prints {"url": ...} once it listens, and runs until it is killed.
const http = require('http');
const { URL } = require('url');
const socketio = require('socket.io');
const { authorize } = require('socketio-jwt');

const [variant, secret] = process.argv.slice(2);
let authenticated = 0;
let rooms = 0;
// Not one: a Map slows down where the same key comes and goes.
const halls = Array.from({ length: 1000 }, (_, i) => `hall ${i}`);

const server = http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost');
  const answer = value => response.end(JSON.stringify(value));
  switch (`${request.method} ${pathname}`) {
    case 'POST /gc': {
      gc();
      gc();
      const { heapUsed, external } = process.memoryUsage();
      return answer({ heap: heapUsed + external });
    }
    case 'GET /stats':
      return answer({ clients: io.engine.clientsCount, authenticated });
    case 'POST /broadcast':
      for (let n = Number(searchParams.get('n')); n > 0; n--) io.emit('news', searchParams.get('text'));
      return answer({});
  }
  response.statusCode = 404;
  response.end();
});

const io = socketio(server, { serveClient: false });

function connected(socket) {
  authenticated++;
  socket.on('echo', (text, callback) => callback(text));
  socket.on('hold', (n, callback) => {
    for (let i = 0; i < n; i++) socket.join(`room ${++rooms}`);
    callback(n);
  });
  socket.on('move', (n, callback) => {
    for (let i = 0; i < n; i++) {
      socket.join(halls[i % halls.length]);
      socket.leave(halls[i % halls.length]);
    }
    callback(n);
  });
}

if (variant === 'handshake') {
  io.use(authorize({ secret, handshake: true }));
  io.on('connection', connected);
} else {
  io.on('connection', authorize({ secret, timeout: 600000 }));
  io.on('authenticated', connected);
}

server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` })));
