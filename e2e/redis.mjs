// A Redis for tests.
import { spawn, execFileSync } from 'node:child_process';
import { createConnection, createServer } from 'node:net';
import { once } from 'node:events';
import { eventually } from './helper.mjs';

// Below the ports that systems give to connections, so that none takes it before Redis does.
async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = createServer().listen(port, '127.0.0.1');
    const free = await once(server, 'listening').then(() => true, () => false); // an error event rejects
    server.close();
    if (free) return port;
  }
}

// Starts a Redis that forgets, on the port where it was before.
export async function startRedis(folder, port) {
  try {
    execFileSync('redis-server', ['--version']);
  } catch {
    throw new Error('redis-server is missing; `apt-get install redis-server` installs it');
  }
  port ??= await freePort();
  const child = spawn('redis-server', ['--bind', '127.0.0.1', '--port', port, '--dir', folder, '--save', '', '--appendonly', 'no'], { stdio: 'ignore' });
  const exited = once(child, 'exit');
  await eventually(async () => {
    const socket = createConnection(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
    } finally {
      socket.destroy();
    }
  });
  return { port, stop: () => { child.kill('SIGKILL'); return exited; } };
}
