'use strict';

// The buttons and the log of each mode. How the client works is in connect.js.
const events = ['connect', 'authenticated', 'welcome', 'token_expiring', 'unauthorized', 'error', 'disconnect', 'reconnecting'];

for (const panel of document.querySelectorAll('section')) {
  panel.append(document.querySelector('template').content.cloneNode(true));
  const element = name => panel.querySelector('.' + name);
  let socket;

  // Asks the server for a token. In an application this is its log-in route, or the one that renews.
  async function freshToken() {
    const kind = element('kind').value;
    element('kind').value = 'good';
    const response = await fetch('token?kind=' + kind, { method: 'POST' });
    log('new token', response.ok ? kind : await response.text());
    if (!response.ok) throw new Error('no token');
    return (await response.json()).token;
  }

  function log(what, detail = '') {
    const line = document.createElement('li');
    const time = document.createElement('time');
    time.textContent = new Date().toLocaleTimeString('en-GB');
    const more = document.createElement('code');
    more.textContent = typeof detail === 'string' ? detail : JSON.stringify(detail);
    line.append(time, what, more);
    element('log').append(line);
    element('log').scrollTop = element('log').scrollHeight;
  }

  element('connect').addEventListener('click', () => {
    if (socket) socket.close();
    socket = connect('/', {
      handshake: panel.id === 'handshake',
      freshToken,
      out: reason => log('out', reason.message),
      path: `/${panel.id}/socket.io`,
      forceNew: true
    });
    for (const event of events) socket.on(event, detail => log(event, detail));
  });
  element('disconnect').addEventListener('click', () => socket && socket.close());
  element('whoami').addEventListener('click', () => socket && socket.emit('whoami', user => log('you are', user)));
}
