// The page behind a share's link: one button gives the token, once. It lies in this page's memory only.
'use strict';

const TOKEN_VARIABLE = 'INFER_TOKEN';
/** Where the service is, also behind a base URL: this page is at BASE/share/claim. */
const base = new URL('..', location.href).href.replace(/\/$/, '').replace(/[?#].*$/, '');
const element = id => document.getElementById(id);

/** Show what went wrong, in the service's own words. */
function problem(text) {
  element('problem').textContent = text;
  element('problem').hidden = !text;
}

/** The error of an answer that is none: JSON's `error`, or the status. */
async function errorOf(answer) {
  try {
    return (await answer.json()).error;
  } catch {
    return `the service answered ${answer.status}`;
  }
}

async function claim(code) {
  const button = element('claim-button');
  button.disabled = true;
  problem('');
  try {
    const answer = await fetch('claim', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ code })
    });
    if (!answer.ok) {
      button.disabled = answer.status < 500 && answer.status !== 429; // else it may work later
      problem(await errorOf(answer));
      return;
    }
    const { token } = await answer.json();
    history.replaceState(null, '', location.pathname); // the link is used up
    element('claim').hidden = true;
    element('token').value = token;
    element('export').textContent = `export ${TOKEN_VARIABLE}=${token}`;
    element('given').hidden = false;
    await show(token);
  } catch {
    button.disabled = false;
    problem('The service cannot be reached. Try again when it runs.');
  }
}

/** Show what `token` may call, as the service's OpenAPI document says it. */
async function show(token) {
  problem('');
  let answer;
  try {
    answer = await fetch(`${base}/openapi.json`, { headers: { Authorization: `Bearer ${token}` } });
  } catch {
    problem('The service cannot be reached. Try again when it runs.');
    return;
  }
  if (!answer.ok) {
    problem(await errorOf(answer));
    return;
  }
  const api = await answer.json();
  const written = api.servers[0].url;
  element('enter').hidden = true;
  showTerms(api['x-share']);
  const models = element('models');
  models.replaceChildren();
  for (const tag of api.tags) {
    models.append(modelSection(api, tag, written, token));
  }
  models.hidden = false;
  showCalls(api);
}

function showTerms(share) {
  if (!share) {
    return;
  }
  const terms = (share.terms ?? []).map(term => {
    const item = document.createElement('li');
    item.textContent = term;
    return item;
  });
  if (share.expires_at) {
    const item = document.createElement('li');
    const when = new Date(share.expires_at * 1000);
    item.textContent = `It ends on ${when.toLocaleString([], { dateStyle: 'full', timeStyle: 'short' })}, or earlier when its owner revokes it.`;
    terms.push(item);
  }
  element('terms').replaceChildren(...terms);
  element('about').hidden = terms.length === 0;
}

function modelSection(api, tag, written, token) {
  const section = document.createElement('section');
  section.append(element('model-template').content.cloneNode(true));
  section.querySelector('h2').textContent = tag.name;
  section.querySelector('.sentence').textContent = tag.description;
  const entry = Object.entries(api.paths).find(([, item]) => item.post && item.post.tags[0] === tag.name);
  if (!entry) {
    section.querySelectorAll('.tabs, .code, .try').forEach(part => part.remove());
    return section;
  }
  const [path, { post }] = entry;
  const samples = post['x-codeSamples'] ?? [];
  const code = section.querySelector('.code pre');
  const tabs = samples.map(sample => {
    const tab = document.createElement('button');
    tab.type = 'button';
    tab.role = 'tab';
    tab.textContent = sample.label;
    tab.addEventListener('click', () => {
      tabs.forEach(other => other.setAttribute('aria-selected', String(other === tab)));
      code.textContent = withBase(sample.source, written);
    });
    return tab;
  });
  section.querySelector('.tabs').append(...tabs);
  tabs[0]?.click();
  tryIt(section.querySelector('.try'), path, post, token);
  return section;
}

/** A sample's text for this page's own address, which differs behind a proxy from what the service knows. */
function withBase(source, written) {
  const bare = address => address.replace(/^https?:\/\//, '');
  return source.split(written).join(base).split(`"${bare(written)}"`).join(`"${bare(base)}"`);
}

function tryIt(form, path, post, token) {
  const example = post.requestBody.content['application/json'].example;
  if (!example) {
    form.remove(); // a picture, or more numbers than a text field is made for
    return;
  }
  const [text, button, told, answer] = ['textarea', 'button', 'output', '.answer'].map(each => form.querySelector(each));
  text.value = JSON.stringify(example, null, 1).replace(/\n\s+(-?[\d.]+|"[^"]*"|true|false)(?=,?\n)/g, ' $1');
  form.addEventListener('submit', async event => {
    event.preventDefault();
    button.disabled = true;
    told.textContent = 'Sent …';
    const began = performance.now();
    try {
      const got = await fetch(base + path, {
        method: 'POST',
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
        body: text.value
      });
      const body = await got.text();
      told.textContent = `${got.ok ? 'Answered' : `Error ${got.status}`} after ${Math.round(performance.now() - began)} ms`;
      answer.textContent = got.ok ? JSON.stringify(JSON.parse(body), null, 1) : body;
      answer.hidden = false;
    } catch {
      told.textContent = 'The service cannot be reached.';
    } finally {
      button.disabled = false;
    }
  });
}

function showCalls(api) {
  const rows = [];
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, call] of Object.entries(methods)) {
      const row = document.createElement('tr');
      const [verb, where, what] = [0, 1, 2].map(() => row.insertCell());
      verb.textContent = method.toUpperCase();
      const address = document.createElement('code');
      address.textContent = path;
      where.append(address);
      what.textContent = call.summary;
      rows.push(row);
    }
  }
  element('call-rows').replaceChildren(...rows);
  element('document').textContent = `${base}/openapi.json`;
  element('calls').hidden = false;
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.createElement('textarea'); // without TLS a page has no clipboard
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand('copy');
    field.remove();
  }
  button.textContent = 'Copied';
  setTimeout(() => (button.textContent = 'Copy'), 2000);
}

document.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (button?.id === 'copy-token') {
    copy(element('token').value, button);
  } else if (button?.classList.contains('copy')) {
    copy(button.parentElement.querySelector('pre').textContent, button);
  }
});

element('enter-form').addEventListener('submit', event => {
  event.preventDefault();
  show(element('enter-token').value.trim());
});

function open() {
  const code = location.hash.slice(1);
  problem('');
  element('claim').hidden = !code;
  element('enter').hidden = Boolean(code);
  element('claim-button').disabled = false;
  element('claim-button').onclick = () => claim(code);
}

addEventListener('hashchange', open);
open();
