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

// auth is asked for each connection, also for one that comes back.
const openSocket = token => io({ forceNew: true, auth: callback => callback({ token: token() }) });

function connect(login) {
  leave('Connecting');
  let token;
  const use = answer => {
    token = answer.token; // of this connection, or of the next
    element('until').textContent = new Date(Date.now() + 1000 * answer.expiresIn).toLocaleTimeString();
  };
  use(login);
  const mine = openSocket(() => token);
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
      const fresh = await post('refresh', { headers: { Authorization: 'Bearer ' + token } });
      if (socket !== mine) return; // logged out meanwhile
      use(fresh);
      mine.emit('authenticate', { token });
    } catch {
      showStatus('Your token cannot be renewed');
    }
  });

  const refused = ({ message }) => leave('Not connected',
    message === 'jwt expired' ? 'Your login has expired. Log in again.' : 'Refused: ' + message);
  let refusal = {};
  mine.on('unauthorized', ({ data }) => { refusal = data; });
  mine.on('connect_error', error => {
    if (error.data) refused(error.data);
    else showStatus('The server does not answer, trying again');
  });
  mine.on('disconnect', reason => {
    if (reason === 'io server disconnect') refused(refusal);
    else showStatus('Connection lost, trying again'); // with the same token
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
  const refused = openSocket(() => FORGED);
  const tell = text => {
    element('reason').textContent = text;
    element('refused').hidden = false;
    refused.close();
  };
  refused.on('connect_error', error => tell(error.data ? JSON.stringify(error.data, null, 2) : 'The server does not answer.'));
});
