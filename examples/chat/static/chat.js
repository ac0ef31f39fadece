'use strict';

// A well-formed token with a signature nobody made.
const FORGED = 'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJyZWQifQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

const element = id => document.getElementById(id);
let socket;

element('login').addEventListener('submit', async event => {
  event.preventDefault();
  element('problem').textContent = '';
  try {
    connect(await post('login', {
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ user: element('user').value, password: element('password').value })
    }));
  } catch (error) {
    element('problem').textContent = error.message;
  }
});

async function post(path, request) {
  const response = await fetch(path, { method: 'POST', ...request });
  if (!response.ok) throw new Error((await response.text()).trim());
  return response.json();
}

// In a header the token gets into no log of URLs. A browser can set one for polling
// only, but that is how connections start, and the upgrade to WebSocket keeps the session.
const openSocket = extraHeaders => io({ forceNew: true, transportOptions: { polling: { extraHeaders } } });
const bearer = token => 'Bearer ' + token;

function connect(login) {
  leave('Connecting');
  const headers = {};
  const use = ({ token, expiresIn }) => {
    headers.Authorization = bearer(token); // of this connection, or of the next
    element('until').textContent = new Date(Date.now() + 1000 * expiresIn).toLocaleTimeString();
  };
  use(login);
  const mine = openSocket(headers);
  socket = mine;

  mine.on('welcome', user => {
    showStatus('Connected as ' + user);
    show('room');
    element('password').value = '';
    element('text').focus();
  });
  mine.on('chat', ({ from, text }) => addMessage(from, text));

  mine.on('token_expiring', async () => {
    if (!element('renew').checked) return;
    try {
      const fresh = await post('refresh', { headers });
      if (socket !== mine) return; // logged out meanwhile
      use(fresh);
      mine.emit('authenticate', { token: fresh.token });
    } catch {
      showStatus('Your token cannot be renewed');
    }
  });

  let refusal = {};
  mine.on('error', reason => { refusal = reason; });
  mine.on('unauthorized', ({ data }) => { refusal = data; });
  mine.on('connect_error', () => showStatus('The server does not answer, trying again'));
  mine.on('disconnect', reason => {
    if (reason !== 'io server disconnect') {
      showStatus('Connection lost, trying again'); // with the same token
    } else if (refusal.message === 'jwt expired') {
      leave('Not connected', 'Your login has expired. Log in again.');
    } else {
      leave('Not connected', 'Refused: ' + refusal.message);
    }
  });
}

function leave(text, problem = '') {
  if (socket) socket.removeAllListeners().close();
  socket = undefined;
  element('messages').replaceChildren();
  element('problem').textContent = problem;
  showStatus(text);
  show('login');
}

function showStatus(text) {
  element('status').textContent = text;
}

function show(part) {
  element('login').hidden = part !== 'login';
  element('room').hidden = part !== 'room';
}

function addMessage(from, text) {
  const who = document.createElement('b');
  who.textContent = from;
  const line = document.createElement('li');
  line.className = 'from-' + from;
  line.append(who, ' ', text);
  element('messages').append(line);
  line.scrollIntoView({ block: 'nearest' });
}

element('talk').addEventListener('submit', event => {
  event.preventDefault();
  if (!socket) return;
  socket.emit('chat', element('text').value);
  element('text').value = '';
});

element('logout').addEventListener('click', () => leave('Not connected'));

element('refuse').addEventListener('click', () => {
  const refused = openSocket({ Authorization: bearer(FORGED) });
  const tell = text => {
    element('reason').textContent = text;
    element('refused').hidden = false;
    refused.close();
  };
  refused.on('error', refusal => tell(JSON.stringify(refusal, null, 2)));
  refused.on('connect_error', () => tell('The server does not answer.'));
});
