// A real server with real models, for the page tests.

import { spawn, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const binaries = new URL('../debug/', import.meta.url).pathname;

function freePort() {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

/** Starts `weighhouse serve`; `stop()` ends it in order and removes its data. */
export async function startServer(settings = {}) {
  const data = mkdtempSync(join(tmpdir(), 'weighhouse-pages-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const environment = {
    ...process.env,
    WEIGHHOUSE_DATA_DIR: join(data, 'data'),
    WEIGHHOUSE_SERVER__LISTEN: `127.0.0.1:${port}`,
    WEIGHHOUSE_SERVER__PUBLIC_URL: url,
    ...settings,
  };
  const server = spawn(join(binaries, 'weighhouse'), ['serve'], { env: environment, stdio: ['ignore', 'pipe', 'ignore'] });
  const token = await new Promise((resolve, reject) => {
    let printed = '';
    server.stdout.on('data', (text) => {
      printed += text;
      if (printed.includes('listens on')) resolve(printed.match(/hf_[A-Za-z0-9]{40}/)[0]);
    });
    server.on('exit', (code) => reject(new Error(`the server ended with ${code}: ${printed}`)));
  });
  execFileSync(join(binaries, 'weighhouse-fixtures'), [data]);
  const run = (...words) =>
    execFileSync(join(binaries, 'weighhouse'), words, {
      env: { ...process.env, WEIGHHOUSE_URL: url, WEIGHHOUSE_TOKEN: token },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  return {
    url,
    token,
    run,
    fixture: (name) => join(data, name),
    async stop() {
      const ended = new Promise((resolve) => server.on('exit', resolve));
      server.kill('SIGTERM');
      await ended;
      rmSync(data, { recursive: true, force: true });
    },
  };
}
