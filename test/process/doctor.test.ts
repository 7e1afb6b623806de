// deadline: 180 s
/** `dog doctor` on a real cluster: names what was done to it, and is content again afterwards. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NbdClient } from '../helpers/nbd-client.js';
import { freePorts, type RealCluster, RealSheep, withCluster, within } from '../helpers/real-cluster.js';
import { type DogResult, dog } from '../helpers/run-dog.js';

const MIB = 1024 * 1024;
const env = { SHEEPFOLD_HOME: '/nowhere/at-all' };

interface Diagnosis {
  exit: number;
  rules: string[];
  text: string;
}

async function ask(port: number): Promise<Diagnosis> {
  const result: DogResult = await dog(['doctor', '--json', '-p', String(port)], { env, deadlineMs: 30_000 });
  const { findings } = JSON.parse(result.stdout) as {
    findings: { rule: string; severity: string; text: string }[];
  };
  return {
    exit: result.exit,
    rules: findings.map(({ severity, rule }) => `${severity} ${rule}`),
    text: findings.map((f) => f.text).join('\n'),
  };
}

/** Until the doctor says so. */
function until(port: number, what: string, isSo: (found: Diagnosis) => boolean): Promise<Diagnosis> {
  return within(20_000, what, async () => {
    const found = await ask(port);
    return isSo(found) ? found : undefined;
  });
}

const content = (found: Diagnosis) => found.exit === 0;

async function killOne(cluster: RealCluster): Promise<void> {
  const [first, second] = cluster.sheep as [RealSheep, RealSheep];
  await second.kill();
  const found = await until(first.port, 'a dead sheep is named', (d) => d.rules.includes('risk node-down'));
  assert.is(found.exit, 1);
  assert.match(
    found.text,
    new RegExp(`127\\.0\\.0\\.1:${second.port} is down, since \\d+ s\\. It is waited for`),
  );
  assert.not.ok(found.rules.some((rule) => rule.startsWith('bad')));
  await second.start();
  await until(first.port, 'content again', content);
}

async function pause(cluster: RealCluster): Promise<void> {
  const [first, , third] = cluster.sheep as [RealSheep, RealSheep, RealSheep];
  const client = await NbdClient.open(first.nbd, 'disk');
  await cluster.call('cluster.settings', { recoveryPaused: true });
  assert.ok((await ask(first.port)).rules.includes('note recovery-paused'));
  await third.kill();
  await client.write(0, Buffer.alloc(MIB, 7));
  client.close();
  await third.start();
  const found = await until(first.port, 'a sheep that stays behind', (d) =>
    d.rules.includes('risk node-behind'),
  );
  assert.ok(found.rules.includes('risk recovery-paused'), found.rules.join());
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.ok((await ask(first.port)).rules.includes('risk node-behind'), 'paused is paused');
  await cluster.call('cluster.settings', { recoveryPaused: false });
  await until(first.port, 'content again', content);
}

/** Two of three down: writes wait; then only the oldest is up: objects wait. */
async function killMore(cluster: RealCluster): Promise<void> {
  const [first, second, third] = cluster.sheep as [RealSheep, RealSheep, RealSheep];
  await third.kill();
  await until(first.port, 'one is down', (d) => d.rules.includes('risk node-down'));
  const client = await NbdClient.open(first.nbd, 'disk');
  await client.write(MIB, Buffer.alloc(MIB, 8));
  client.close();
  await second.kill();
  const found = await until(first.port, 'writes wait', (d) => d.rules.includes('bad writes-wait'));
  assert.ok(found.rules.includes('risk last-copy'));
  assert.match(found.text, /The volume concerned: disk/);
  await first.kill();
  third.spawn();
  const awaited = await until(third.port, 'the newest content is awaited', (d) =>
    d.rules.includes('bad data-awaited'),
  );
  assert.match(awaited.text, /Nothing is lost, and nothing older is shown/);
  await first.start();
  await second.start();
  await until(first.port, 'content again', content);
}

test('the doctor names a dead sheep, a pause, waiting writes and awaited content, and their ends', () =>
  withCluster({ deadlineMs: 150_000 }, async (cluster) => {
    const healthy = await ask(cluster.sheep[0]!.port);
    assert.is(healthy.exit, 0, healthy.text);
    assert.equal(healthy.rules, ['note one-machine']);
    await cluster.call('vdi.create', { name: 'disk', sizeBytes: 16 * MIB });
    await killOne(cluster);
    await pause(cluster);
    await killMore(cluster);
  }));

test('before the format it says how to format', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sheepfold-doctor-'));
  const [port, nbdPort, httpPort] = (await freePorts(3)) as [number, number, number];
  const sheep = new RealSheep(0, join(folder, 's'), join(folder, 'coordinator'), port, nbdPort, httpPort);
  try {
    await sheep.start();
    const found = await until(port, 'not formatted', (d) => d.rules.includes('bad not-formatted'));
    assert.is(found.exit, 1);
    assert.match(found.text, /not formatted yet; 1 sheep is ready/);
  } finally {
    await sheep.kill();
    rmSync(folder, { recursive: true, force: true });
  }
});

test.run();
