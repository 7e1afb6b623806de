import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { within } from '../../helpers/control-pair.js';
import { dogMain, Launcher, runDogProcess } from '../../helpers/launcher.js';
import { DogBench } from '../../helpers/run-dog.js';

/** dog as a process: what only a process can show. */
async function withBench(run: (bench: DogBench) => Promise<void>): Promise<void> {
  const bench = await DogBench.start();
  try {
    await run(bench);
  } finally {
    await bench.stop();
  }
}

/** Runs a shell line in which $DOG stands for dog; gives its exit code and output. */
function shell(line: string, bench: DogBench): Promise<{ exit: number; stdout: string; stderr: string }> {
  const env = {
    ...process.env,
    DOG: `${process.execPath} ${dogMain}`,
    SHEEPDOG_DOG_PORT: String(bench.port),
  };
  const child = spawn('bash', ['-c', `set -o pipefail; ${line}`], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => (stdout += chunk));
  child.stderr.on('data', (chunk) => (stderr += chunk));
  const done = new Promise<{ exit: number; stdout: string; stderr: string }>((resolve) =>
    child.on('close', (code) => resolve({ exit: code ?? -1, stdout, stderr })),
  );
  return within(done, line, 20_000);
}

test('the compiled program can be run by itself', () => {
  assert.ok(readFileSync(dogMain, 'utf8').startsWith('#!/usr/bin/env node\n'));
});

test('a reader that goes away ends dog quietly', () =>
  withBench(async (bench) => {
    bench.cluster.add('alpha', 16 * 2 ** 20);
    const result = await shell('$DOG vdi read alpha | head -c 10 | wc -c', bench);
    assert.is(result.stdout.trim(), '10');
    assert.is(result.stderr, '');
    assert.is(result.exit, 141);
  }));

test('data goes through pipes and files unchanged', () =>
  withBench(async (bench) => {
    bench.cluster.add('alpha', 8 * 2 ** 20);
    const line =
      'f=$(mktemp); head -c 5000000 /dev/urandom > $f; $DOG vdi write alpha 123456 < $f && ' +
      'cat $f | $DOG vdi write alpha && $DOG vdi read alpha 0 5000000 | cmp - $f && rm $f && echo same';
    const result = await shell(line, bench);
    assert.is(result.stderr, '');
    assert.is(result.stdout, 'same\n');
  }));

test('a file that does not fit is refused before anything is written', () =>
  withBench(async (bench) => {
    bench.cluster.add('alpha', 100_000);
    const result = await shell(
      'f=$(mktemp); head -c 200000 /dev/zero > $f; $DOG vdi write alpha < $f',
      bench,
    );
    assert.is(result.exit, 1);
    assert.match(result.stderr, /200000 bytes at offset 0 goes past its end/);
    assert.not.ok(bench.cluster.calls.includes('vdi.write'));
  }));

test('dog ends while its standard input stays open', () =>
  withBench(async (bench) => {
    const result = await shell(
      'sleep 5 | { $DOG vdi list -r -p $SHEEPDOG_DOG_PORT; echo $?; kill $(jobs -p) 2>/dev/null; exit 7; }',
      bench,
    );
    assert.is(result.stdout, '0\n');
  }));

test('the exit code reaches the shell', async () => {
  assert.is((await runDogProcess(['nosuch'])).exit, 64);
  assert.is((await runDogProcess(['--version'])).stdout, '0.1.0\n');
});

test('the launcher starts a cluster with the real command and cleans up', async () => {
  const main = fileURLToPath(new URL('../../helpers/fake-sheep.js', import.meta.url));
  const cluster = await Launcher.start({ sheep: 2, main });
  try {
    assert.match((await cluster.dog('node', 'list', '-r')).stdout, /^0 127\.0\.0\.1:\d+ 128 0\n1 /);
    await cluster.kill(1);
    assert.is((await cluster.up()).exit, 0);
    const client = await cluster.control(1);
    assert.is((await client.call('cluster.info', {})).result.status, 'running');
    client.close();
  } finally {
    await cluster.stop();
  }
});

test.run();
