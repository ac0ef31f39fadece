// Every client, over every transport, in both modes.
import { after, before, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { Client, clients, nodeOnly, post, startServer, variants } from './helper.mjs';
import { refusal, sign } from './token.mjs';

const expired = (claims = {}) => sign({ seconds: -10, ...claims });
const forged = () => sign({ sub: 'red' }, { key: 'another secret, also of 32 bytes' });
const lost = () => { throw new Error('the line is down'); };
// Passes the time in which a client would come back, or try again: another one comes back three times.
const meanwhile = async make => {
  const other = make([sign({ sub: 'other' })]);
  for (const n of [1, 2, 3]) {
    await other.until('welcome', n);
    other.lose();
  }
  await other.until('welcome', 4);
};

const promise = () => {
  let resolve;
  return Object.assign(new Promise(r => { resolve = r; }), { resolve });
};

for (const client of clients) {
  describe(`socket.io-client ${client.name}`, { concurrency: true }, () => {
    const servers = {};
    before(async () => {
      for (const mode of ['handshake', 'roundtrip']) servers[mode] = await startServer({ version: client.version, mode });
    });
    after(() => Promise.all(Object.values(servers).map(server => server.stop())));

    for (const variant of variants(client)) {
      const { mode } = variant;
      const handshake = mode === 'handshake';
      const version2 = variant.version === 2;

      // Runs a body with a way to make clients; closes them whatever happens.
      const check = (title, body, options = {}) => test(`${variant.title}: ${title}`, options, async () => {
        const made = [];
        const server = options.alone ? await startServer(variant, options.alone) : servers[mode];
        try {
          await body((tokens, more) => {
            made.push(new Client(variant, server, tokens, more));
            return made.at(-1);
          }, server);
        } finally {
          for (const { connection } of made) connection.close();
          if (options.alone) await server.stop();
        }
      });
      const onNode = { skip: nodeOnly };
      const alone = { skip: nodeOnly, alone: {} };

      check('a client gets in, and its handlers see it', async make => {
        const sub = randomUUID();
        const client = make([sign({ sub })]);
        await client.until('welcome');
        assert.deepEqual(client.log, [
          ['connect'], ...(handshake ? [] : [['authenticated']]), ['welcome', { namespace: '/', subject: sub }]
        ]);
        assert.equal(await client.subject(), sub);
        assert.equal(client.asked, 1);
      });

      check('each connection gets a new token', async make => {
        const client = make([1, 2, 3].map(n => sign({ sub: `token ${n}` })));
        for (const n of [1, 2, 3]) {
          await client.until('welcome', n);
          await client.settled();
          assert.equal(await client.subject(), `token ${n}`);
          client.lose();
        }
      });

      check('a new token is sent when the server warns', async make => {
        const sub = randomUUID();
        const client = make([() => sign({ sub, seconds: 2 }), () => sign({ sub, seconds: 3 }), () => sign({ sub })]);
        await client.until('token_expiring', 2); // after the first one has expired
        await client.until('authenticated', handshake ? 2 : 3);
        assert.equal(await client.subject(), sub);
        assert.equal(client.asked, 3);
        assert.equal(client.all('welcome').length, 1);
        assert.deepEqual(client.all('disconnect'), []);
      });

      check('a session that expires is opened again', async make => {
        const client = make([() => sign({ sub: 'one', seconds: 2 }), lost, () => sign({ sub: 'two' })]);
        await client.until('welcome', 2);
        assert.equal(await client.subject(), 'two');
        assert.deepEqual(client.all('unauthorized').map(([{ message }]) => message), ['jwt expired']);
        assert.deepEqual(client.all('disconnect').map(([reason]) => reason), ['io server disconnect']);
        assert.equal(client.asked, 3);
        assert.deepEqual(client.outs, []);
      });

      check('a session that expires is opened again, and again', async make => {
        const client = make([() => sign({ sub: 'one', seconds: 2 }), lost, () => sign({ sub: 'two', seconds: 2 }), lost, () => sign({ sub: 'three' })]);
        await client.until('welcome', 3);
        assert.equal(await client.subject(), 'three');
        assert.deepEqual(client.outs, []);
      });

      check('tokens that live shorter than the warning comes ahead are not renewed at once', async make => {
        const sub = randomUUID();
        const client = make([() => sign({ sub, seconds: 2 })]);
        await client.until('token_expiring');
        const start = Date.now();
        await client.until('token_expiring', 2);
        assert.ok(Date.now() - start >= 500, `renewed after ${Date.now() - start} ms`);
        assert.deepEqual(client.all('disconnect'), []);
      }, { ...alone, alone: { warning: 60_000 } });

      check('an expired token is replaced once', async make => {
        const client = make([expired(), sign({ sub: 'two' })]);
        await client.until('welcome');
        assert.equal(await client.subject(), 'two');
        assert.equal(client.asked, 2);
      });

      check('no connection is left over when a client comes back while it is still sending', async (make, server) => {
        const client = make([expired(), sign({ sub: 'two' })]);
        client.socket.on('connect', () => {
          for (let i = 0; i < 20; i++) client.socket.emit('news', 'x'.repeat(10_000));
        });
        await client.until('welcome');
        await client.settled();
        assert.equal(await client.subject(), 'two');
        assert.equal(server.handshakes, 2);
        assert.equal(server.connections, 1);
        assert.equal(client.opened, 2);
        assert.deepEqual(client.all('connect').length, handshake ? 1 : 2);
      }, alone);

      check('a client whose expired token cannot be replaced is out', async make => {
        const client = make([expired(), lost]);
        assert.equal((await client.out()).message, 'the line is down');
        assert.equal(client.asked, 2);
        assert.ok(client.gone);
      });

      check('a client with expired tokens only is out', async make => {
        const client = make([expired()]);
        assert.deepEqual(await client.out(), refusal('invalid_token', 'jwt expired'));
        assert.equal(client.asked, 2);
        assert.ok(client.gone);
      });

      check('tokens that expire as soon as they are accepted are not tried for ever', async make => {
        const client = make([sign({ sub: randomUUID(), flash: true })]);
        assert.deepEqual(await client.out(), refusal('invalid_token', 'jwt expired'));
        assert.equal(client.asked, 2);
        assert.ok(client.gone);
      }, onNode);

      check('a client with a forged token is out', async make => {
        const client = make([forged(), sign({ sub: 'two' })]);
        assert.deepEqual(await client.out(), refusal('invalid_token', 'invalid signature'));
        assert.equal(client.asked, 1);
        assert.ok(client.gone);
      });

      check('a client that gets no token is out, without a request', async make => {
        for (const [token, reason] of [[lost, new Error('the line is down')], [null, refusal('credentials_required', 'no token provided')]]) {
          const client = make([token]);
          assert.deepEqual(await client.out(), reason);
          assert.equal(client.socket.io.engine, undefined);
          assert.ok(client.gone);
        }
      });

      check('a client that is sent away is out', async make => {
        const sub = randomUUID();
        const client = make([sign({ sub })]);
        await client.until('welcome');
        await client.settled();
        await post(servers[mode], '/disconnect', { subject: sub, code: 'logged_out', message: 'see you' });
        assert.deepEqual(await client.out(), refusal('logged_out', 'see you'));
        assert.equal(client.asked, 1);
        assert.ok(client.gone);
      });

      check('a client that is sent away without a word is out', async make => {
        const sub = randomUUID();
        const client = make([sign({ sub })]);
        await client.until('welcome');
        client.socket.emit('authenticate', { token: sign({ sub }, { kid: 'fails' }) }); // refused, which ends nothing
        await client.until('unauthorized');
        client.socket.emit('authenticate', { token: sign({ sub }) });
        await client.until('authenticated', handshake ? 1 : 2);
        await post(servers[mode], '/disconnect', { subject: sub });
        assert.deepEqual(await client.out(), { message: 'io server disconnect' });
      }, onNode);

      check('a client whose token is revoked is out', async make => {
        const jti = randomUUID();
        const client = make([sign({ sub: jti, jti })]);
        await client.until('welcome');
        await post(servers[mode], '/revoke', { id: jti });
        assert.deepEqual(await client.out(), refusal('invalid_token', 'jwt revoked'));
        assert.equal(client.asked, 1);
        assert.ok(client.gone);

        const again = make([sign({ sub: jti, jti })]);
        assert.deepEqual(await again.out(), refusal('invalid_token', 'jwt revoked'));
        assert.deepEqual(again.all('welcome'), []);
      });

      check('who is out stays out when the server comes back', async (make, server) => {
        const client = make([forged()]);
        await client.out();
        const { handshakes } = server;
        await meanwhile(make);
        assert.equal(server.handshakes - handshakes, 4);
        assert.equal(client.outs.length, 1);
      }, alone);

      check('what may pass is tried again', async make => {
        const client = make([sign({ sub: 'one' }, { kid: 'fails' }), sign({ sub: 'one' }, { kid: 'fails' }), sign({ sub: 'three' })]);
        await client.until('welcome');
        assert.equal(await client.subject(), 'three');
        assert.equal(client.asked, 3);
        assert.deepEqual(client.outs, []);
      });

      check('the number of tries is counted anew after a session', async make => {
        const fails = sign({ sub: 'no' }, { kid: 'fails' });
        const client = make([fails, () => sign({ sub: 'one', seconds: 2 }), lost, fails, sign({ sub: 'two' })], { reconnectionAttempts: 1 });
        await client.until('welcome', 2);
        assert.equal(await client.subject(), 'two');
      });

      check('close() ends the tries', async make => {
        const client = make([sign({ sub: 'no' }, { kid: 'fails' })]);
        const refusals = ['error', 'connect_error', 'disconnect'];
        await client.when('refused', () => client.log.some(([event]) => refusals.includes(event)));
        client.connection.close();
        await meanwhile(make);
        assert.equal(client.asked, 1);
        assert.ok(client.gone);
      }, onNode);

      check('`reconnection: false` and `reconnectionAttempts` hold for that, too', async make => {
        const fails = sign({ sub: 'one' }, { kid: 'fails' });
        for (const [options, tries] of [[{ reconnection: false }, 1], [{ reconnectionAttempts: 2 }, 3]]) {
          const client = make([fails], options);
          assert.deepEqual(await client.out(), refusal('invalid_secret', 'secret unavailable'));
          assert.equal(client.asked, tries);
          assert.ok(client.gone);
        }
      }, onNode);

      check('a busy server is tried again', async (make, server) => {
        server.busy = 2;
        const client = make([sign({ sub: 'one' }), sign({ sub: 'two' })]);
        await client.until('welcome');
        assert.equal(await client.subject(), 'two', 'the first token is old by now');
        assert.ok(client.all('connect_error').length >= 1);
        assert.ok(server.handshakes >= 3);
        assert.deepEqual(client.outs, []);
      }, alone);

      check('a token that is being fetched is not asked for again', async make => {
        const token = promise();
        const client = make([sign({ sub: 'one' }), () => token, sign({ sub: 'three' })]);
        await client.until('welcome');
        await client.settled();
        for (const n of [2, 3]) {
          client.lose();
          await client.when('opened', () => client.opened === n);
          if (!handshake) await client.until('connect', n); // where it asks
          await client.when('asked', () => client.asked >= 2);
        }
        assert.equal(client.asked, 2);
        token.resolve(sign({ sub: 'two' }));
        if (handshake && version2) return; // which did not wait for it
        await client.until('welcome', 2);
        assert.equal(await client.subject(), 'two');
        assert.equal(client.all('welcome').length, 2);
      });

      check('a new token that comes when the connection is lost is not sent in the next one', async make => {
        const token = promise();
        const client = make([() => sign({ sub: 'one', seconds: 2 }), () => token, sign({ sub: 'three' })]);
        client.socket.on('disconnect', () => token.resolve(sign({ sub: 'two' })));
        await client.until('token_expiring');
        await client.when('asked', () => client.asked === 2);
        client.lose();
        await client.until('welcome', 2);
        assert.equal(await client.subject(), handshake && version2 ? 'two' : 'three');
        assert.equal(client.all('authenticated').length, handshake ? 0 : 2);
      });

      check('a socket that the page has closed asks for nothing', async make => {
        const tokens = [() => sign({ sub: 'red', seconds: 2 })];
        const client = make(tokens);
        await client.until('token_expiring');
        client.socket.disconnect();
        const other = make(tokens);
        await other.until('token_expiring', 2);
        assert.equal(client.asked, 1);
      }, { ...alone, alone: { warning: 60_000 } });

      check('where no token can be had, the last one is used', async make => {
        const client = make([sign({ sub: 'one' }), lost]);
        await client.until('welcome');
        await client.settled();
        client.lose();
        await client.until('welcome', 2);
        assert.equal(await client.subject(), 'one');
        assert.deepEqual(client.outs, []);
      });

      check('a last token that was revoked meanwhile is replaced', async make => {
        const jti = randomUUID();
        const revoke = () => {
          servers[mode].revoke(jti);
          lost();
        };
        const client = make([sign({ sub: 'one', jti }), revoke, sign({ sub: 'two' })]);
        await client.until('welcome');
        await client.settled();
        client.lose();
        await client.until('welcome', 2);
        assert.equal(await client.subject(), 'two');
        assert.equal(client.asked, 3);
        assert.deepEqual(client.outs, []);
      }, onNode);

      check('who has logged out while the connection was lost is out', async make => {
        const client = make([sign({ sub: 'one' }), null]);
        await client.until('welcome');
        client.lose();
        assert.deepEqual(await client.out(), refusal('credentials_required', 'no token provided'));
        assert.ok(client.gone);
      });

      check('a token is asked for again after an error that is retryable', async make => {
        const down = () => { throw Object.assign(new Error('down'), { retryable: true }); };
        const client = make([down, down, sign({ sub: 'red' })]);
        await client.until('welcome');
        assert.deepEqual(client.outs, []);
      });

      check('close() while a token is being fetched', async make => {
        const token = promise();
        const client = make([() => token]);
        await client.when('asked', () => client.asked === 1);
        client.connection.close();
        token.resolve(sign({ sub: 'red' }));
        await token;
        const other = make([sign({ sub: 'red' })]); // mounted twice
        await other.until('welcome');
        assert.equal(client.socket.io.engine, undefined);
        assert.deepEqual(client.log, []);
        assert.ok(client.gone);
      });

      check('close() while a token is being fetched for the next connection', async make => {
        const token = promise();
        const client = make([sign({ sub: 'one' }), () => token]);
        await client.until('welcome');
        await client.settled();
        client.lose();
        await client.when('asked', () => client.asked === 2);
        client.connection.close();
        assert.ok(client.gone);
        token.resolve(sign({ sub: 'two' }));
        await token;
        await make([sign({ sub: 'red' })]).until('welcome');
        assert.ok(client.gone);
        assert.equal(client.all('welcome').length, 1);
        assert.deepEqual(client.outs, []);
      });

      check('close() while the server is waited for', async (make, server) => {
        server.busy = Infinity;
        const client = make([sign({ sub: 'one' })]);
        await client.until('connect_error');
        client.connection.close();
        server.busy = 0;
        const { handshakes } = server;
        await meanwhile(make);
        assert.equal(server.handshakes - handshakes, 4);
        assert.ok(client.gone);
      }, alone);

      if (!handshake) {
        check('a client whose connection the server ends after a refusal is out', async make => {
          const client = make([forged()]);
          client.socket.on('unauthorized', (why, heard) => heard());
          assert.deepEqual(await client.out(), refusal('invalid_token', 'invalid signature'));
          assert.equal(client.all('disconnect')[0][0].includes('transport'), true);
          assert.ok(client.gone);
        }, { ...alone, alone: { hangUp: true } });

        check('a token that took longer than the server waits is used then', async make => {
          const token = promise();
          const client = make([sign({ sub: 'one' }), () => token]);
          await client.until('welcome');
          await client.settled();
          client.lose();
          assert.equal((await client.until('unauthorized'))[0].data.code, 'timeout');
          token.resolve(sign({ sub: 'two' }));
          await client.until('welcome', 2);
          assert.equal(await client.subject(), 'two');
          assert.deepEqual(client.outs, []);
        });
      }

      if (handshake && !version2) {
        check("a page that calls socket.connect() in its own connect_error handler is not in the way", async make => {
          const token = promise();
          const client = make([expired(), () => token]);
          client.socket.on('connect_error', () => client.socket.connect());
          await client.when('opened', () => client.opened === 2);
          token.resolve(sign({ sub: 'two' }));
          await client.until('welcome');
          await client.settled();
          assert.equal(await client.subject(), 'two');
          assert.equal(client.all('connect').length, 1);
          assert.equal(client.asked, 2);
        });
      }

      check('the page may disconnect and connect again', async make => {
        const client = make([sign({ sub: 'one' }), sign({ sub: 'two' })]);
        await client.until('welcome');
        await client.settled();
        client.socket.disconnect();
        await client.closed(); // up to 4.3 connect() must not come earlier
        assert.ok(client.gone);
        client.socket.connect();
        await client.until('welcome', 2);
        if (handshake && version2) return; // the last one, until that is refused
        assert.equal(await client.subject(), 'two');
      });

      if (!version2 && handshake) {
        check('the page may do so while a token is being fetched', async make => {
          const token = promise();
          const client = make([sign({ sub: 'one' }), () => token]);
          await client.until('welcome');
          await client.settled();
          client.lose();
          await client.when('asked', () => client.asked === 2);
          client.socket.disconnect();
          await client.closed();
          client.socket.connect();
          await client.when('opened', () => client.opened === 3);
          token.resolve(sign({ sub: 'two' }));
          await client.until('welcome', 2);
          assert.equal(await client.subject(), 'two');
          assert.equal(client.all('connect').length, 2);
        });
      }

      if (version2) {
        check('an error of the connection is no refusal', async make => {
          const client = make([sign({ sub: 'red' })], { namespace: '/other' });
          const { io } = client.socket;
          io.once('open', () => queueMicrotask(() => io.engine.onError(new Error('the line is down'))));
          await client.until('welcome');
          assert.equal(client.all('error').length, 1);
        }, onNode);
      }

      check('`auth` and `query` of the page are sent, too', async make => {
        const query = version2 ? 'room=lobby' : { room: 'lobby' };
        const namespace = version2 && handshake ? '?page=1' : ''; // 2.x itself takes the URL's query or the option's
        for (const auth of [{ device: 'phone' }, answer => answer({ device: 'phone' })]) {
          const client = make([sign({ sub: 'one' })], { auth, query, namespace });
          await client.until('welcome');
          const sent = await client.ask('handshake');
          assert.equal(sent.query.room, 'lobby');
          if (namespace) assert.equal(sent.query.page, '1');
          if (!version2) assert.equal(sent.auth.device, 'phone');
          if (!version2) assert.equal(sent.query.token, undefined);
        }
      }, onNode);

      check('a namespace', async make => {
        const client = make([sign({ sub: 'one' }), sign({ sub: 'two' })], { namespace: '/other?room=lobby' });
        await client.until('welcome');
        assert.equal((await client.ask('handshake')).query.room, 'lobby');
        assert.deepEqual(await client.ask('whoami'), { namespace: '/other', subject: 'one' });
        await client.settled();
        client.lose();
        await client.until('welcome', 2);
        assert.deepEqual(await client.ask('whoami'), { namespace: '/other', subject: 'two' });
      }, onNode);

      check('an unknown namespace is the end', async make => {
        const client = make([sign({ sub: 'one' })], { namespace: '/nowhere' });
        assert.equal((await client.out()).message, 'Invalid namespace');
        assert.ok(client.gone);
      }, onNode);

      if (!version2) {
        check('two namespaces share a connection with `forceNew: false`', async (make, server) => {
          const root = make([sign({ sub: 'one' })], { forceNew: false });
          const other = make([sign({ sub: 'one' })], { forceNew: false, namespace: '/other' });
          await root.until('welcome');
          await other.until('welcome');
          assert.equal(root.socket.io, other.socket.io);
          assert.equal(server.handshakes, 1);
          other.connection.close();
          assert.equal(await root.subject(), 'one');
          assert.equal(server.sockets('/other'), 0);

          const token = promise();
          const late = make([() => token], { forceNew: false, namespace: '/other' });
          await late.when('asked', () => late.asked === 1);
          late.connection.close();
          token.resolve(sign({ sub: 'one' }));
          await token;
          assert.equal(await root.subject(), 'one'); // the server has had time for a CONNECT
          assert.equal(server.sockets('/other'), 0);
        }, alone);
      }
    }
  });
}
