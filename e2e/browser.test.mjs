// The pages in examples/, and pages of other origins, in headless Chromium.
// SCREENSHOTS=folder keeps pictures of what they look like.
import { after, describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { eventually, here, refusal, secret, sign, startProgram, unauthorized, withServer } from './helper.mjs';
import { startRedis } from './redis.mjs';

const limit = { timeout: 60_000 };
const clientDir = join(here, 'node_modules/socket.io-client-4/dist'); // of the examples
const clientDir2 = join(here, 'node_modules/socket.io-client/dist');

// The browser -----------------------------------------------------------------

let browser;

function launch() {
  const executablePath = process.env.CHROMIUM || '/usr/bin/chromium';
  if (!existsSync(executablePath)) {
    throw new Error(`no browser at ${executablePath}: install it (Debian: apt-get install chromium), ` +
      'or set CHROMIUM to where Chromium or Chrome is');
  }
  // Playwright makes a new profile for each launch. The pages are our own, so root needs no sandbox.
  return chromium.launch({
    executablePath,
    headless: true,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync']
  });
}

after(async () => (await browser)?.close());

// Runs a body with a page that has cookies of its own, and insists that nothing
// went wrong in its scripts and nothing was against its policy.
async function withPage(body, options) {
  const context = await (await (browser ??= launch())).newContext({ colorScheme: 'light', reducedMotion: 'reduce', ...options });
  context.setDefaultTimeout(15_000);
  const wrong = [];
  try {
    const page = await context.newPage();
    page.on('pageerror', error => wrong.push(error.stack));
    page.on('console', message => {
      if (/Content.Security.Policy/i.test(message.text())) wrong.push(message.text());
    });
    await body(page);
    assert.deepEqual(wrong, []);
  } finally {
    await context.close();
  }
}

const sees = (page, selector, text) => page.locator(selector).filter({ hasText: text, visible: true }).first().waitFor();

async function picture(page, name) {
  const folder = process.env.SCREENSHOTS;
  if (folder) await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

async function withProgram(name, args, body, env) {
  const server = await startProgram('../examples', name, ['-addr', '127.0.0.1:0', '-client', clientDir, ...args], env);
  try {
    await body(server);
  } finally {
    await server.stop();
  }
}

// The chat ----------------------------------------------------------------------

async function logIn(page, server, user, password = `${user}-demo`) {
  if (!page.url().startsWith(server.url)) await page.goto(server.url);
  await page.fill('#user', user);
  await page.fill('#password', password);
  await page.click('#login [type=submit]');
}

// Waits until the page shows what its connection is: a state for the eye, and a text.
async function isIn(page, state, text) {
  await sees(page, `#status[data-state=${state}]`, text);
}

async function say(page, text) {
  await page.fill('#text', text);
  await page.click('#talk button');
}

const phone = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true };

describe('the chat', { concurrency: 2 }, () => {
  test('two pages chat, with a token that is not in any URL', limit, () =>
    withProgram('chat', [], server => withPage(red => withPage(async blue => {
      const urls = [];
      const bodies = [];
      red.on('request', request => {
        urls.push(request.url());
        if (request.url().includes('/socket.io/')) bodies.push(request.postData() ?? '');
      });
      red.on('websocket', socket => urls.push(socket.url()));

      await red.goto(server.url);
      await picture(red, 'chat-login');
      await blue.goto(server.url);
      await picture(blue, 'chat-login-phone');
      await red.click('text=Log in as red');
      await logIn(blue, server, 'blue');
      await isIn(red, 'in', 'Connected as red');
      await isIn(blue, 'in', 'Connected as blue');
      await red.waitForFunction('socket.io.engine.transport.name === "websocket"');

      await say(red, 'Hello blue, <b>not bold</b>');
      await sees(blue, '#messages li', 'red Hello blue, <b>not bold</b>');
      await say(blue, 'Grüße, red 👋');
      await sees(red, '#messages li', 'blue Grüße, red 👋');
      assert.equal(await red.locator('#messages li').count(), 2);
      await picture(red, 'chat-chatting');
      await picture(blue, 'chat-chatting-phone');

      const { token } = JSON.parse(bodies.find(body => body.startsWith('40')).slice(2));
      assert.deepEqual(urls.filter(url => url.includes(token) || url.includes('token=')), []);
      assert.equal(urls.filter(url => url.startsWith('ws:')).length, 1);

      await server.stop();
      await isIn(blue, 'away', 'trying again'); // 'Connection lost', then 'The server does not answer'
    }, phone))));

  test('red logs in, writes and logs out, and the token is good for nothing any more', limit, () =>
    withProgram('chat', [], server => withPage(red => withPage(async again => {
      await red.goto(server.url);
      assert.ok(!await red.isVisible('#revoked'), 'nobody has logged out yet');
      await red.click('text=Log in as red');
      await isIn(red, 'in', 'Connected as red');
      await again.goto(server.url);
      await again.click('text=Log in as red');
      await isIn(again, 'in', 'Connected as red');
      await say(red, 'bye');
      await sees(again, '#messages li', 'red bye');

      await red.click('#logout');
      await isIn(red, 'out', 'Logged out');
      assert.equal(await red.evaluate('document.activeElement.dataset.user'), 'red', 'the focus is lost');
      assert.equal(await red.locator('#messages li').count(), 0);
      await red.click('#revoked');
      await red.waitForSelector('#refused:not([hidden])');
      assert.deepEqual(JSON.parse(await red.textContent('#reason')), refusal('invalid_token', 'jwt revoked'));
      await picture(red, 'chat-logged-out');

      await say(again, 'this is another login');
      await sees(again, '#messages li', 'red this is another login');
      await red.click('text=Log in as red');
      await isIn(red, 'in', 'Connected as red');
    }))));

  test('who logs in again before the answer to the log-out is there stays', limit, () =>
    withProgram('chat', [], server => withPage(async page => {
      let answer;
      const held = new Promise(resolve => { answer = resolve; });
      await page.route('**/logout', async route => {
        const response = await route.fetch();
        await held;
        await route.fulfill({ response });
      });
      await page.goto(server.url);
      await page.click('text=Log in as red');
      await isIn(page, 'in', 'Connected as red');
      await page.click('#logout');
      await isIn(page, 'out', 'Logged out'); // the socket was told
      await page.click('text=Log in as blue');
      await isIn(page, 'in', 'Connected as blue');
      const answered = page.waitForResponse('**/logout');
      answer();
      await (await answered).finished();
      await say(page, 'still here');
      await sees(page, '#messages li', 'blue still here');
    })));

  test('the page shows the code of a refusal', limit, () =>
    withProgram('chat', [], server => withPage(async page => {
      await page.route('**/login', async route => {
        const response = await route.fetch();
        await route.fulfill({ response, json: { ...await response.json(), token: 'nonsense' } });
      });
      let answer;
      const held = new Promise(resolve => { answer = resolve; });
      await page.route('**/socket.io/?*', route => held.then(() => route.continue()));
      await page.goto(server.url);
      await page.click('text=Log in as blue');
      await isIn(page, 'connecting', 'Connecting');
      answer();
      await isIn(page, 'refused', 'Refused: invalid_token');
      await sees(page, '#problem', 'The server says: jwt malformed');
    })));

  test('a wrong password, and a forged token', limit, () =>
    withProgram('chat', [], server => withPage(async page => {
      await logIn(page, server, 'red', 'blue-demo');
      await sees(page, '#problem', 'wrong user or password');
      await picture(page, 'chat-wrong-password');
      assert.equal(await page.inputValue('#user'), 'red');

      await page.click('#forged');
      await page.waitForSelector('#refused:not([hidden])');
      assert.deepEqual(JSON.parse(await page.textContent('#reason')), refusal('invalid_token', 'invalid signature'));
      await picture(page, 'chat-refused');

      await logIn(page, server, 'red');
      await isIn(page, 'in', 'Connected as red');
    }, phone)));

  test('the page renews its token and stays', limit, () =>
    withProgram('chat', ['-token-life', '4s'], server => withPage(async page => {
      let sockets = 0;
      page.on('websocket', () => { sockets++; });
      await logIn(page, server, 'red');
      await isIn(page, 'in', 'Connected as red');
      const end = Date.now() + 4000; // by then the first token has expired
      do {
        const answer = await page.waitForResponse(`${server.url}/refresh`);
        assert.equal(answer.status(), 200);
      } while (Date.now() < end);
      await say(page, 'still here');
      await sees(page, '#messages li', 'red still here');
      await isIn(page, 'in', 'Connected as red');
      assert.equal(sockets, 1, 'it was gone and came back');
    })));

  test('the token expires, and the page asks for the password again', limit, () =>
    withProgram('chat', ['-token-life', '5s'], server => withPage(async page => {
      await logIn(page, server, 'red');
      await isIn(page, 'in', 'Connected as red');
      await page.uncheck('#renew');
      await isIn(page, 'expired', 'Token expired');
      await sees(page, '#problem', 'Your login has expired. Log in again.');
      await picture(page, 'chat-expired');
      assert.equal(await page.inputValue('#user'), 'red');
      assert.equal(await page.inputValue('#password'), '');
      await page.fill('#password', 'red-demo');
      await page.click('#login [type=submit]');
      await isIn(page, 'in', 'Connected as red');
      await say(page, 'back again');
      await sees(page, '#messages li', 'red back again');
    })));

  test('a page that was away for longer than its token lives', limit, () =>
    withProgram('chat', ['-token-life', '5s'], server => withPage(async page => {
      await logIn(page, server, 'red');
      await isIn(page, 'in', 'Connected as red');
      await page.uncheck('#renew');
      await page.route('**/socket.io/**', route => route.abort());
      await page.evaluate('socket.io.engine.close()');
      await isIn(page, 'away', 'trying again');
      await new Promise(resolve => setTimeout(resolve, 5000));
      await page.unroute('**/socket.io/**');
      await sees(page, '#problem', 'Your login has expired. Log in again.'); // said by the handshake
    })));
});

// Several nodes ------------------------------------------------------------------

test('pages of two nodes', limit, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'socketiojwt-pages-'));
  const redis = await startRedis(folder);
  const withNode = (name, others, body) => {
    const args = ['-name', name, '-others', others, '-redis', `127.0.0.1:${redis.port}`];
    return withProgram('cluster', args, body, { JWT_SECRET: secret });
  };
  try {
    // The second knows where the first is. Ports are free ones, so the first cannot know the second.
    await withNode('one', '', one => withNode('two', one.url, two => withPage(red => withPage(async blue => {
      await red.goto(one.url);
      assert.ok(!await red.isVisible('#hint'), 'it knows of no other node');
      await blue.goto(two.url);
      await sees(blue, '#node', 'two');
      assert.deepEqual(await blue.locator('#others a').evaluateAll(links => links.map(({ href, textContent }) => [href, textContent])),
        [[`${one.url}/`, new URL(one.url).host]]);
      await picture(blue, 'cluster-login');
      await red.click('text=Log in as red');
      await isIn(red, 'in', 'Connected as red');
      await logIn(blue, two, 'blue');
      await isIn(blue, 'in', 'Connected as blue');
      await sees(blue, '#count', 'red: 1 page, blue: 1 page');

      await say(red, 'hello from afar');
      await sees(blue, '#messages li.elsewhere', 'red hello from afar from one');
      await say(blue, 'hello to you');
      await sees(blue, '#messages li:not(.elsewhere)', 'blue hello to you this node');
      await sees(red, '#messages li.elsewhere', 'blue hello to you from two');
      await picture(blue, 'cluster-chatting');

      await withPage(async elsewhere => {
        await elsewhere.goto(two.url);
        await elsewhere.click('text=Log in as red');
        await isIn(elsewhere, 'in', 'Connected as red');
        await elsewhere.click('#logout');
        for (const page of [elsewhere, red]) await isIn(page, 'out', 'Logged out');
      });
      await sees(red, '#problem', 'You have been logged out on all nodes.');
      await blue.click('#online');
      await sees(blue, '#count', 'red: 0 pages, blue: 1 page');
    }, phone))));
  } finally {
    await redis.stop();
    await rm(folder, { recursive: true });
  }
});

// The package in client/ --------------------------------------------------------

describe('examples/client', { concurrency: 2 }, () => {
  for (const mode of ['handshake', 'roundtrip']) {
    const handshake = mode === 'handshake';
    const entered = handshake ? ['connect', 'welcomea visitor'] : ['connect', 'authenticated', 'welcomea visitor'];

    test(mode, limit, () =>
      withProgram('client', ['-token-life', '6s'], server => withPage(async page => {
        await page.goto(server.url);
        const panel = page.locator(`#${mode}`);
        const log = () => panel.locator('.log li').evaluateAll(lines =>
          lines.map(line => line.lastChild.previousSibling.textContent + line.lastChild.textContent));
        const choose = kind => panel.locator('.kind').selectOption(kind);
        const connect = kind => choose(kind).then(() => panel.locator('.connect').click());
        const shows = async (state, text, chosen) => {
          await panel.locator(`.status[data-state=${state}]`).filter({ hasText: text }).waitFor();
          assert.equal(await panel.locator('.kind').inputValue(), chosen, 'the select is not where it was put');
        };
        let read = 0;
        // Waits for the next lines of the log. expiresIn depends on when exactly the token was signed.
        const logs = async expected => {
          const want = expected.flat(2);
          await eventually(async () => {
            const lines = (await log()).slice(read, read + want.length).map(line => line.replace(/("expiresIn":)\d/, '$1n'));
            assert.deepEqual(lines, want);
          });
          read += want.length;
        };
        const said = e => 'unauthorized' + JSON.stringify(e);
        const out = 'disconnectio server disconnect';
        const warned = 'token_expiring{"expiresIn":n}';
        const refusedWith = message => handshake
          ? ['connect_error' + JSON.stringify(refusal('invalid_token', message))]
          : [said(unauthorized('invalid_token', message)), out];

        // In, warned, and still in with a newer token.
        await connect('good');
        await logs(['new tokengood', entered, warned, 'new tokengood', 'authenticated']);
        await shows('in', 'Connected', 'good');
        await panel.locator('.whoami').click();
        await logs(['you area visitor']);
        // Warned, but nobody is logged in any more.
        await choose('none');
        await logs([warned, 'new tokenlog in first\n', 'disconnectio client disconnect', 'outno token provided']);
        await shows('refused', 'Out: credentials_required', 'none');
        // Expired from the start: it comes back with a good one.
        await connect('expired');
        await logs(['new tokenexpired', handshake ? [] : 'connect', refusedWith('jwt expired'), 'new tokengood', entered]);
        await shows('in', 'Connected', 'expired');
        await picture(page, `client-${mode}`);
        await panel.locator('.disconnect').click();
        await logs(['disconnectio client disconnect']);
        await shows('out', 'Not connected', 'expired');
        // Refused for good.
        await connect('forged');
        const gone = 'outinvalid signature';
        const told = refusedWith('invalid signature');
        await logs(['new tokenforged', ...(handshake ? [gone, told] : ['connect', told[0], gone, told[1]])]);
        await shows('refused', 'Out: invalid_token', 'forged');
        await connect('none');
        await logs(['new tokenlog in first\n', 'outno token provided']);
        await picture(page, `client-${mode}-out`);
      }, handshake ? {} : phone)));
  }
});

// Pages of other origins -------------------------------------------------------------

// Runs a body with the origin of somebody else's pages. Another port is another origin,
// but for cookies it is the same site: SameSite=Strict does not hold them back.
async function withOrigin(body) {
  const server = createServer((_, response) => response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>A page</title>'));
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  try {
    await body(`http://127.0.0.1:${server.address().port}`);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

// Connects from the page, and returns how it ended: with the event `welcome`, `error`,
// `unauthorized` or `connect_error`, and on which transport.
async function connectFrom(page, url, options = {}) {
  const { major = 2, ...rest } = options;
  if (await page.evaluate('window.major') !== major) {
    await page.addScriptTag({ path: join(major === 2 ? clientDir2 : clientDir, 'socket.io.js') });
    await page.evaluate(major => { window.major = major; }, major);
  }
  return page.evaluate(([url, { authenticate, ...options }]) => new Promise(resolve => {
    const socket = io(url, { forceNew: true, reconnection: false, ...options });
    const end = event => detail => {
      resolve({ event, detail: event === 'connect_error' ? detail.data : detail });
      socket.close();
    };
    for (const event of ['error', 'unauthorized', 'connect_error', 'disconnect']) socket.on(event, end(event));
    if (authenticate) socket.on('connect', () => socket.emit('authenticate', authenticate));
    socket.on('welcome', () => {
      const { engine } = socket.io;
      const ask = () => socket.emit('whoami', who => end('welcome')({ ...who, transport: engine.transport.name }));
      const upgrades = engine.transport.name === 'polling' && (options.transports || ['websocket']).includes('websocket');
      if (upgrades) engine.once('upgrade', ask);
      else ask();
    });
  }), [url, rest]);
}

const inAs = (subject, transport) => ({ event: 'welcome', detail: { namespace: '/', subject, transport } });
const notAtAll = { event: 'connect_error', detail: undefined };

// Every way a page can connect, for each version of the client.
const ways = {
  2: {
    polling: { transports: ['polling'] },
    websocket: { transports: ['websocket'] },
    jsonp: { transports: ['polling'], forceJSONP: true }
  },
  4: {
    polling: { transports: ['polling'] },
    websocket: { transports: ['websocket'] }
  }
};

test('a page of another origin with a token in a header', limit, () =>
  withOrigin(friend => withOrigin(stranger => withServer({ handshake: true, headerRequired: true }, server => withPage(async page => {
    const withToken = token => ({ transportOptions: { polling: { extraHeaders: { Authorization: `Bearer ${token}` } } } });
    await page.goto(friend);
    assert.deepEqual(await connectFrom(page, server.url, withToken(sign())), inAs('red', 'websocket'));
    assert.ok((await server.stats()).preflights > 0, 'the browser did not ask first');
    assert.deepEqual(await connectFrom(page, server.url, withToken('nonsense')),
      { event: 'error', detail: refusal('invalid_token', 'jwt malformed') });

    await page.goto(stranger);
    const before = await server.stats();
    for (const options of [withToken(sign()), { ...withToken(sign()), transports: ['websocket'] }]) {
      assert.deepEqual(await connectFrom(page, server.url, options), notAtAll);
    }
    assert.deepEqual((await server.stats()).connected, before.connected);
  }), { pages: [friend] }))));

for (const handshake of [true, false]) {
  const name = handshake ? 'handshake' : 'round trip';

  test(`${name}: a page of another origin with auth.token`, limit, () =>
    withOrigin(friend => withOrigin(stranger => withServer({ handshake }, server => withPage(async page => {
      const enter = (token, way) => connectFrom(page, server.url, { major: 4, auth: { token }, ...way });
      await page.goto(friend);
      for (const [transport, way] of Object.entries(ways[4])) {
        assert.deepEqual(await enter(sign(), way), inAs('red', transport));
        assert.deepEqual(await enter('nonsense', way), { event: 'connect_error', detail: refusal('invalid_token', 'jwt malformed') });
      }
      assert.deepEqual(await enter(sign()), inAs('red', 'websocket')); // the upgrade
      assert.equal((await server.stats()).preflights, 0, 'the browser asked first');

      await page.goto(stranger);
      const before = await server.stats();
      for (const way of Object.values(ways[4])) assert.deepEqual(await enter(sign(), way), notAtAll);
      assert.deepEqual((await server.stats()).connected, before.connected);
    }), { pages: [friend] }))));

  for (const major of [2, 4]) {
    const title = `${name}, client ${major}.x`;
    const enter = (page, server, way, more) =>
      connectFrom(page, server.url, { major, ...ways[major][way], ...(handshake ? {} : { authenticate: {} }), ...more });
    const withCookie = (page, server) => page.context().addCookies(
      [{ name: 'jwt', value: sign(), url: server.url, httpOnly: true, sameSite: 'Strict' }]);
    const withCredentials = { withCredentials: true }; // what 2.x does by itself

    test(`${title}: a cookie lets pages of the own host in, and of AllowedOrigins`, limit, () =>
      withOrigin(friend => withServer({ handshake, cookie: 'jwt', allowedOrigins: [friend] }, server => withPage(async page => {
        await withCookie(page, server);
        await page.goto(`${server.url}/stats`); // any document of that origin
        for (const way of Object.keys(ways[major])) {
          assert.deepEqual(await enter(page, server, way), inAs('red', way === 'websocket' ? way : 'polling'), way);
        }
        await page.goto(friend);
        for (const way of ['polling', 'websocket']) {
          assert.deepEqual(await enter(page, server, way, withCredentials), inAs('red', way), `${way} from an allowed origin`);
        }
        if (major === 4) {
          const { event, detail } = await enter(page, server, 'polling');
          assert.deepEqual({ event, detail: handshake ? detail : detail.data }, handshake
            ? { event: 'connect_error', detail: refusal('credentials_required', 'no token provided') }
            : { event: 'unauthorized', detail: refusal('invalid_token', 'invalid token datatype') });
        }
      }), { pages: [friend] })));

    for (const [how, pages] of [['by default', []], ['where CheckOrigin lets every page connect', ['*']]]) {
      test(`${title}: a hostile page does not get in with its visitor's cookie, ${how}`, limit, () =>
        withOrigin(hostile => withServer({ handshake, cookie: 'jwt' }, server => withPage(async page => {
          await withCookie(page, server);
          await page.goto(hostile);
          for (const way of Object.keys(ways[major])) {
            const before = (await server.stats()).cookies;
            const { event } = await enter(page, server, way, withCredentials);
            assert.ok(['connect_error', 'error', 'unauthorized', 'disconnect'].includes(event), `${way}: ${event}`);
            assert.ok((await server.stats()).cookies > before, `${way}: the browser sent no cookie, so this shows nothing`);
          }
          const { connected, authenticated } = await server.stats();
          assert.deepEqual({ connected, authenticated }, { connected: [], authenticated: [] });
        }), { pages })));
    }
  }
}
