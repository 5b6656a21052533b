// The pages as a person uses them, in headless Chromium. Scripts are switched off in the
// browser, because nothing on the pages may need one; the accessibility checker alone runs
// with scripts on.

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { chromium } from 'playwright-core';
import { startServer } from './server.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const screenshots = new URL('../screenshots/', import.meta.url).pathname;

let server;
let browser;
let keys;

/** Writes a new pair of keys and returns the folder. */
function createKeys() {
  const folder = mkdtempSync(join(tmpdir(), 'weighhouse-keys-'));
  const { privateKey, publicKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  writeFileSync(join(folder, 'private.pem'), privateKey, { mode: 0o600 });
  writeFileSync(join(folder, 'public.pem'), publicKey);
  return folder;
}

before(async () => {
  mkdirSync(screenshots, { recursive: true });
  keys = createKeys();
  server = await startServer({ WEIGHHOUSE_GATE__TRUSTED_KEYS: `release-team=${join(keys, 'public.pem')}` });
  server.run('push', server.fixture('tiny'), 'acme/tiny', '--visibility', 'public', '--wait');
  cpSync(server.fixture('tiny'), server.fixture('signed'), { recursive: true });
  server.run('sign', server.fixture('signed'), '--key', join(keys, 'private.pem'));
  server.run('push', server.fixture('signed'), 'acme/signed', '--visibility', 'public', '--wait');
  server.run('push', server.fixture('broken'), 'acme/broken', '--visibility', 'public', '--wait');
  server.run('model', 'create', 'acme/secret', '--visibility', 'private');
  browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
});

after(async () => {
  await browser?.close();
  await server?.stop();
  if (keys) rmSync(keys, { recursive: true });
});

async function open(path, options = {}) {
  const context = await browser.newContext({ javaScriptEnabled: false, viewport: { width: 1200, height: 900 }, ...options });
  const page = await context.newPage();
  await page.goto(server.url + path);
  return page;
}

async function signIn(page, token) {
  await page.goto(`${server.url}/sign-in`);
  await page.getByLabel('API token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

describe('the catalog', () => {
  test('shows models with their verdict in words', async () => {
    const page = await open('/');
    const row = page.getByRole('row', { name: /acme\/tiny/ });
    assert.match(await row.innerText(), /allowed.*Apache-2\.0.*open-weight-permissive.*llama/s);
    assert.match(await page.getByRole('row', { name: /acme\/broken/ }).innerText(), /denied/);
    await page.screenshot({ path: `${screenshots}catalog.png`, fullPage: true });
  });

  test('keeps every filter in the address', async () => {
    const page = await open('/models');
    await page.getByLabel('Search').fill('tin');
    await page.getByLabel('Verdict').selectOption('allowed');
    await page.getByRole('button', { name: 'Apply' }).click();
    assert.match(page.url(), /search=tin/);
    assert.match(page.url(), /verdict=allowed/);
    assert.equal(await page.getByRole('link', { name: 'acme/tiny' }).count(), 1);
    assert.equal(await page.getByRole('link', { name: 'acme/broken' }).count(), 0);
    assert.equal(await page.getByLabel('Search').inputValue(), 'tin');
  });

  test('says what to do when nothing matches', async () => {
    const page = await open('/models?search=nothing-like-this');
    assert.match(await page.locator('main').innerText(), /No model matches.*weighhouse push/s);
  });

  test('pages through a long list', async () => {
    const page = await open('/models?limit=1');
    await page.getByRole('link', { name: 'Next page' }).click();
    assert.equal(await page.getByRole('link', { name: 'acme/signed' }).count(), 1);
    await page.getByRole('link', { name: 'Next page' }).click();
    assert.equal(await page.getByRole('link', { name: 'acme/tiny' }).count(), 1);
    assert.equal(await page.getByRole('link', { name: 'Next page' }).count(), 0);
  });
});

describe('a model', () => {
  test('shows what the registry found, decided and would need', async () => {
    const page = await open('/models');
    await page.getByRole('link', { name: 'acme/tiny' }).click();
    const text = await page.locator('main').innerText();
    for (const expected of [/development\s*.*allowed/, /production\s*.*denied/, /NO_TRUSTED_SIGNATURE/,
      /gate\.trusted_keys/, /Apache-2\.0/, /open-weight-permissive/, /tokens per second/, /perplexity/i, /README\.md/]) {
      assert.match(text, expected);
    }
    await page.screenshot({ path: `${screenshots}model.png`, fullPage: true });
  });

  test('that a trusted signer vouches for shows who, how, when, over what, where in the log, and every check', async () => {
    const page = await open('/models/acme/signed');
    assert.match(await page.locator('main').innerText(), /production\s*.*allowed/);
    const section = page.locator('#provenance');
    const text = await section.innerText();
    for (const expected of [/trusted/, /Method\s+key, valid, by a signer that is configured here/, /Signer\s+release-team/,
      /Time\s+none that anybody vouches for/, /Covers\s+2 files signed, 0 ignored, 0 unsigned/, /this registry/]) {
      assert.match(text, expected);
    }
    const checks = section.getByRole('table', { name: /Requirement/ });
    for (const [check, outcome] of [['Integrity', 'passed'], ['Signer', 'passed'], ['Expiry', 'passed'],
      ['Time', 'not applicable'], ['Transparency log', 'not asked'], ['Revocation', 'passed'], ['Trust root', 'not applicable'],
      ['Coverage', 'passed']]) {
      const row = checks.getByRole('row').filter({ has: page.getByRole('cell', { name: check, exact: true }) });
      assert.match(await row.innerText(), new RegExp(outcome), check);
    }
    await page.screenshot({ path: `${screenshots}provenance.png`, fullPage: true });
  });

  test('shows the place in the log of what the registry stated about it', async () => {
    const page = await open('/models/acme/signed');
    const places = () => page.locator('#provenance').getByRole('row').filter({ hasText: 'this registry' }).allInnerTexts();
    // The log takes up to a second to sign its next head.
    for (let attempt = 0; attempt < 200 && (await places()).some((row) => row.includes('–')); attempt += 1) {
      await page.waitForTimeout(50);
      await page.reload();
    }
    const rows = await places();
    assert.ok(rows.length > 1, 'a probe and decisions were stated');
    for (const row of rows) assert.match(row, /\d+\s+[0-9a-f]{16}/);
    const link = page.locator('#provenance').getByRole('link', { name: /^[0-9a-f]{16}$/ }).first();
    const bundle = await page.request.get(new URL(await link.getAttribute('href'), server.url).href);
    assert.match((await bundle.json()).mediaType, /sigstore\.bundle/);
  });

  test('names what is wrong with broken weights and how to mend it', async () => {
    const page = await open('/models/acme/broken');
    const text = await page.locator('main').innerText();
    assert.match(text, /malformed/);
    assert.match(text, /UNSAFE_CONTENT/);
    await page.screenshot({ path: `${screenshots}broken.png`, fullPage: true });
  });

  test('shows what it is made of: files, precisions, memory, tokenizer, template and tensors', async () => {
    const page = await open('/models/acme/tiny');
    await page.getByRole('link', { name: 'Files and tensors' }).click();
    // A worker lists the tensors after the inspection, and a page is what it is when it is asked for.
    for (let attempt = 0; attempt < 100 && (await page.locator('#tensors table').count()) === 0; attempt += 1) {
      await page.waitForTimeout(100);
      await page.reload();
    }
    const text = await page.locator('main').innerText();
    for (const expected of [/Parameters by precision/, /Memory\s+about/, /vocabulary size/, /default in .*\.gguf/, /Weights digest/]) {
      assert.match(text, expected);
    }
    await page.locator('details summary').first().click();
    assert.match(await page.locator('details pre').first().innerText(), /messages/);
    await page.getByLabel('Name contains').fill('attn_q');
    await page.getByRole('button', { name: 'Search' }).click();
    const names = await page.locator('#tensors tbody th').allInnerTexts();
    assert.ok(names.length > 0 && names.every((name) => name.includes('attn_q')), names.join(', '));
    await page.getByLabel('Estimate memory for a context of').fill('100000');
    await page.getByRole('button', { name: 'Estimate' }).click();
    assert.match(await page.locator('#precision').innerText(), /for 100,000 tokens/);
    await page.screenshot({ path: `${screenshots}files.png`, fullPage: true });
    const listed = await page.request.get(`${server.url}/v1/models/acme/tiny/revisions/main/tensors?search=ATTN_Q&limit=1`);
    const [tensor] = (await listed.json()).items;
    assert.match(tensor.sha256, /^[0-9a-f]{64}$/);
    assert.equal(tensor.shape.length, 2);
  });

  test('names what its files share with another model that nobody declared', async () => {
    const page = await open('/models/acme/signed/files');
    for (let attempt = 0; attempt < 100 && !/acme\/tiny/.test(await page.locator('#tensors').innerText()); attempt += 1) {
      await page.waitForTimeout(100);
      await page.reload();
    }
    const text = await page.locator('#tensors').innerText();
    assert.match(text, /UNDECLARED_BASE/);
    assert.match(text, /all weights/);
    const weights = await page.request.get(`${server.url}/v1/models/acme/signed/revisions/main/weights`);
    assert.equal((await weights.json()).shared[0].model, 'acme/tiny');
    await page.screenshot({ path: `${screenshots}shared.png`, fullPage: true });
  });

  test('that is still being judged says so, allows nothing and looks again by itself', async () => {
    const waiting = await startServer({ WEIGHHOUSE_WORKER__ENABLED: 'false' });
    try {
      waiting.run('push', waiting.fixture('tiny'), 'acme/tiny', '--visibility', 'public');
      const page = await open('/models');
      await page.goto(`${waiting.url}/models/acme/tiny`);
      assert.match(await page.getByRole('status').innerText(), /is being judged/);
      assert.match(await page.locator('#policy').innerText(), /Until then it allows nothing/);
      assert.equal(await page.locator('meta[http-equiv="refresh"]').count(), 1);
      const file = await page.request.get(`${waiting.url}/v1/models/acme/tiny/revisions/main/files/README.md`);
      assert.equal(file.status(), 403);
      assert.equal((await file.json()).code, 'decision-pending');
    } finally {
      await waiting.stop();
    }
  });

  test('that does not exist is a page, not a document', async () => {
    const page = await open('/models/acme/none');
    assert.match(await page.locator('h1').innerText(), /Nothing is here/);
    assert.equal(await page.getByRole('link', { name: 'Back to the models' }).count(), 1);
  });

  test('links to its files', async () => {
    const page = await open('/models/acme/tiny');
    const link = page.getByRole('link', { name: 'README.md' });
    const answer = await page.request.get(new URL(await link.getAttribute('href'), server.url).href);
    assert.equal(answer.status(), 200);
    assert.match(await answer.text(), /# Tiny/);
  });
});

describe('the probe of a model', () => {
  test('says whether it runs, what was checked, what it wrote and what the numbers mean', async () => {
    const page = await open('/models/acme/tiny');
    await page.getByRole('link', { name: 'Probe', exact: true }).first().click();
    assert.match(page.url(), /\/models\/acme\/tiny\/probe/);
    const text = await page.locator('main').innerText();
    for (const expected of [/Whether it runs/, /The model runs/, /Is every weight a finite number\?/, /not a statement of the registry/,
      /tokens per second/, /of a limit of/, /Perplexity\s+\d+\.\d+/, /lower is better/, /Sandbox/, /landlock/, /candle/]) {
      assert.match(text, expected);
    }
    const levels = await page.locator('#levels tbody th').allInnerTexts();
    assert.deepEqual(levels, ['L0', 'L1', 'L2', 'L3', 'L4']);
    assert.equal(await page.locator('#history tbody tr').count(), 1);
    assert.equal(await page.getByRole('button', { name: 'Probe again' }).count(), 0);
    await page.screenshot({ path: `${screenshots}probe.png`, fullPage: true });
  });

  test('that stopped early shows which levels were not reached, and why', async () => {
    const page = await open('/models/acme/broken/probe');
    const text = await page.locator('main').innerText();
    assert.match(text, /not reached/);
    assert.match(await page.locator('#findings').innerText(), /[A-Z]+_[A-Z]+/);
    await page.screenshot({ path: `${screenshots}probe-broken.png`, fullPage: true });
  });

  test('can be asked for again by a writer: the old report counts meanwhile, and both are kept', async () => {
    const page = await open('/models/acme/tiny/probe');
    await signIn(page, server.token);
    await page.goto(`${server.url}/models/acme/tiny/probe`);
    await page.getByRole('button', { name: 'Probe again' }).click();
    assert.match(page.url(), /\/models\/acme\/tiny\/probe\?revision=main/);
    assert.match(await page.locator('#verdict').innerText(), /The model runs/);
    // The page renews itself until the second report is there.
    await page.locator('#history tbody tr').nth(1).waitFor();
    const counts = await page.locator('#history tbody tr').allInnerTexts();
    assert.match(counts[0], /now/);
    assert.doesNotMatch(counts[1], /now/);
    await page.screenshot({ path: `${screenshots}probe-history.png`, fullPage: true });
    const answer = await page.request.get(`${server.url}/v1/models/acme/tiny/revisions/main/probes`);
    assert.deepEqual((await answer.json()).items.map((record) => record.selected), [true, false]);
  });

  test('is not asked for by a form of another site', async () => {
    const page = await open('/sign-in');
    await signIn(page, server.token);
    const answer = await page.request.post(`${server.url}/models/acme/tiny/probe`, { form: { csrf: 'guessed', revision: 'main' } });
    assert.equal(answer.status(), 403);
  });
});

describe('signing in', () => {
  test('shows private models to their owner alone and ends on request', async () => {
    const page = await open('/models/acme/secret');
    assert.match(await page.locator('h1').innerText(), /Nothing is here/);
    await signIn(page, 'hf_wrong');
    assert.match(await page.getByRole('alert').innerText(), /unknown, expired or revoked/);
    await page.screenshot({ path: `${screenshots}sign-in.png` });
    await signIn(page, server.token);
    assert.match(await page.locator('.account').innerText(), /Signed in as admin/);
    await page.getByRole('link', { name: 'acme/secret' }).click();
    assert.match(await page.locator('main').innerText(), /no revision yet/);
    await page.getByRole('button', { name: 'Sign out' }).click();
    assert.equal(await page.getByRole('link', { name: 'acme/secret' }).count(), 0);
  });

  test('works with the keyboard alone', async () => {
    const page = await open('/sign-in');
    await page.keyboard.press('Tab');
    assert.equal(await page.locator(':focus').innerText(), 'Skip to content');
    await page.getByLabel('API token').focus();
    await page.keyboard.type(server.token);
    await page.keyboard.press('Enter');
    await page.waitForURL('**/models');
  });
});

describe('every page', () => {
  const paths = ['/models', '/models/acme/tiny', '/models/acme/tiny/files', '/models/acme/tiny/probe', '/models/acme/broken/probe', '/models/acme/signed/files', '/models/acme/signed', '/models/acme/broken', '/sign-in', '/models/acme/none',
    '/licenses', '/licenses/LicenseRef-llama3.1', '/reports'];

  for (const colorScheme of ['light', 'dark']) {
    for (const path of paths) {
      test(`is accessible in the ${colorScheme} theme: ${path}`, async () => {
        const page = await open(path, { javaScriptEnabled: true, colorScheme });
        await page.evaluate(axe);
        const { violations } = await page.evaluate(() => window.axe.run());
        assert.deepEqual(violations.map((violation) => `${violation.id}: ${violation.nodes[0].html}`), []);
      });
    }
  }

  for (const path of paths) {
    test(`fits a narrow screen: ${path}`, async () => {
      const page = await open(path, { javaScriptEnabled: true, viewport: { width: 360, height: 800 } });
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(width <= 360, `${width} pixels wide`);
    });
  }

  test('loads nothing from elsewhere and prints', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    const foreign = [];
    page.on('request', (request) => {
      if (!request.url().startsWith(server.url) && !request.url().startsWith('data:')) foreign.push(request.url());
    });
    for (const path of [...paths, '/docs/']) {
      await page.goto(server.url + path, { waitUntil: 'networkidle' });
    }
    // A busy machine is quiet on the network before the documentation has drawn itself.
    await page.getByText(/Weighhouse/).first().waitFor();
    assert.deepEqual(foreign, []);
    await page.goto(`${server.url}/models/acme/tiny`);
    const document = await page.pdf({ format: 'A4' });
    assert.ok(document.length > 10_000);
  });
});
