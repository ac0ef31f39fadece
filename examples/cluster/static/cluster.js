'use strict';

const element = id => document.getElementById(id);
let socket;
let token;
let node; // what this page's node is called

// Where this page comes from, and where there are others.
fetch('node').then(response => response.json()).then(({ name, others }) => {
  node = name;
  element('node').textContent = name;
  for (const url of others ?? []) {
    const link = document.createElement('a');
    link.href = url;
    link.target = '_blank';
    link.rel = 'noopener';
    link.textContent = new URL(url).host;
    element('others').append(element('others').firstChild ? ', ' : '', link);
    element('hint').hidden = false;
  }
});

const withToken = (path, method = 'GET') => fetch(path, { method, headers: { Authorization: 'Bearer ' + token } });

// The users of this demo. Where passwords are secrets, no page knows them.
for (const button of document.querySelectorAll('[data-user]')) {
  button.addEventListener('click', () => logIn(button.dataset.user, button.dataset.user + '-demo'));
}

element('login').addEventListener('submit', event => {
  event.preventDefault();
  logIn(element('user').value, element('password').value);
});

async function logIn(user, password) {
  const response = await fetch('login', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ user, password })
  });
  if (!response.ok) return leave('out', 'Not connected', (await response.text()).trim());
  ({ token } = await response.json());
  connect();
}

function connect() {
  leave('connecting', 'Connecting');
  socket = io({ auth: { token }, forceNew: true });
  socket.on('welcome', user => {
    showStatus('in', 'Connected as ' + user);
    element('password').value = '';
    show(true);
    element('text').focus();
    showOnline();
  });
  socket.on('chat', addMessage);
  // While Redis is away, or was new, the server ends the connection without a reason, and the client
  // comes back by itself.
  socket.on('connect_error', error => {
    if (error.data) leave('refused', 'Refused: ' + error.data.code, 'The server says: ' + error.message);
    else showStatus('away', 'The server does not answer, trying again');
  });
  socket.on('unauthorized', ({ message, data }) => {
    if (data.code === 'logged_out') leave('out', 'Logged out', 'You have been logged out on all nodes.');
    else if (message === 'jwt expired') leave('expired', 'Token expired', 'Your login has expired. Log in again.');
    else leave('refused', 'Refused: ' + data.code, 'The server says: ' + message);
  });
  socket.on('disconnect', reason => {
    if (reason === 'io server disconnect') leave('out', 'Not connected', 'The server has ended the connection.');
    else showStatus('away', 'Connection lost, trying again');
  });
}

function leave(state, status, problem = '') {
  if (socket) socket.removeAllListeners().close();
  socket = undefined;
  element('messages').replaceChildren();
  element('count').textContent = '';
  element('problem').textContent = problem;
  showStatus(state, status);
  const focusGoes = !element('room').hidden;
  show(false);
  if (focusGoes) document.querySelector('[data-user]').focus();
}

// state is for the style sheet: out, connecting, in, away, expired or refused.
function showStatus(state, text) {
  element('status').dataset.state = state;
  element('status').textContent = text;
}

function show(room) {
  element('room').hidden = !room;
  element('login').hidden = room;
}

// via says which node a message comes from; those of Node's servers do not say it.
function addMessage({ from, text, node: via = 'another server' }) {
  const who = document.createElement('b');
  who.textContent = from;
  const where = document.createElement('small');
  where.textContent = via === node ? 'this node' : 'from ' + via;
  const line = document.createElement('li');
  line.dataset.from = from;
  line.className = via === node ? '' : 'elsewhere';
  line.append(who, ' ', text, ' ', where);
  element('messages').append(line);
  line.scrollIntoView({ block: 'nearest' });
}

element('talk').addEventListener('submit', event => {
  event.preventDefault();
  if (socket) socket.emit('chat', element('text').value);
  element('text').value = '';
});

async function showOnline() {
  const counts = await Promise.all(['red', 'blue'].map(async user => {
    const response = await withToken('online?user=' + user);
    if (!response.ok) return user + ': cannot be asked';
    const { sockets } = await response.json();
    return `${user}: ${sockets} ${sockets === 1 ? 'page' : 'pages'}`;
  }));
  element('count').textContent = counts.join(', ');
}

element('online').addEventListener('click', showOnline);

// The server ends this page's connection too, with a reason.
element('logout').addEventListener('click', async () => {
  const response = await withToken('logout-everywhere', 'POST');
  if (!response.ok) element('count').textContent = (await response.text()).trim();
});
