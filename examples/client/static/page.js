'use strict';

// The buttons and the log of each mode. How the client works is in the package, client/.
const events = ['connect', 'authenticated', 'welcome', 'token_expiring', 'unauthorized', 'connect_error', 'disconnect'];

for (const panel of document.querySelectorAll('section')) {
  panel.append(document.querySelector('template').content.cloneNode(true));
  const element = name => panel.querySelector('.' + name);
  let connection;

  // Asks the server for a token. In an application this is its log-in route, or the one that renews.
  async function freshToken() {
    const kind = element('kind').value;
    element('kind').value = 'good';
    const response = await fetch('token?kind=' + kind, { method: 'POST' });
    log('new token', response.ok ? kind : await response.text());
    return response.ok ? (await response.json()).token : undefined; // nobody is logged in
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
    if (connection) connection.close();
    connection = socketiojwt.connect(io, '/', {
      mode: panel.id,
      token: freshToken,
      onOut: reason => log('out', reason.message),
      path: `/${panel.id}/socket.io`
    });
    for (const event of events) {
      connection.socket.on(event, detail => log(event, detail instanceof Error ? detail.data || detail.message : detail));
    }
  });
  element('disconnect').addEventListener('click', () => connection && connection.close());
  element('whoami').addEventListener('click', () => connection && connection.socket.emit('whoami', user => log('you are', user)));
}
