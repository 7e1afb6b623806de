// deadline: 180 s
/** A sheep that joins with a disk too small for its part: nothing is copied, clients go on, and room ends the wait. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NbdClient } from '../helpers/nbd-client.js';
import { objectDiskBytes, RealCluster, type RealSheep, within } from '../helpers/real-cluster.js';
import { dog } from '../helpers/run-dog.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';

const MIB = 1024 * 1024;
/** Two journal segments, what the store and recovery leave free, and about 50 MiB of objects. */
const SMALL = '260m';
const ENOUGH = '480m';
const VOLUME_MIB = 128;
const STEP_BLOCKS = MIB / BLOCK_BYTES;

function mount(folder: string, options: string): boolean {
  try {
    mkdirSync(folder, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder], { stdio: 'ignore' });
    return true;
  } catch {
    // Not root, or a container that may not mount.
    return false;
  }
}

async function rulesAt(port: number): Promise<string[]> {
  const { stdout } = await dog(['doctor', '--json', '-p', String(port)], {
    env: { SHEEPFOLD_HOME: '/nowhere' },
  });
  const { findings } = JSON.parse(stdout) as { findings: { rule: string; severity: string }[] };
  return findings.map(({ severity, rule }) => `${severity} ${rule}`);
}

async function run(cluster: RealCluster, fourth: RealSheep, enlarge: () => void): Promise<void> {
  const first = cluster.sheep[0]!;
  const volume = new StampedVolume(VOLUME_MIB * STEP_BLOCKS);
  await cluster.call('vdi.create', { name: 'disk', sizeBytes: VOLUME_MIB * MIB });
  const client = await NbdClient.open(first.nbd, 'disk');
  for (let at = 0; at < VOLUME_MIB; at++) await volume.writeAt(client, at * STEP_BLOCKS, STEP_BLOCKS);
  await fourth.start();
  const rowOf = async () => (await cluster.call('node.list', {})).find((n) => n.port === fourth.port);
  await within(
    30_000,
    'the fourth waits for room',
    async () => (await rowOf())?.progress?.waiting === 'no-space',
  );
  // Nothing was begun that does not fit, and what clients write goes on.
  assert.ok(objectDiskBytes(fourth.dir) < 8 * MIB, `${objectDiskBytes(fourth.dir)} bytes were copied`);
  for (let at = 0; at < 16; at++) await volume.writeAt(client, at * STEP_BLOCKS, STEP_BLOCKS);
  await client.flush();
  const rules = await within(10_000, 'the doctor names it', async () => {
    const found = await rulesAt(first.port);
    return found.includes('risk recovery-no-space') && found;
  });
  assert.ok(rules.includes('note move'), rules.join());
  enlarge();
  await within(60_000, 'the fourth has its objects', async () => {
    const row = await rowOf();
    return row?.up === true && row.empty !== true && row.moving !== true;
  });
  assert.ok(objectDiskBytes(fourth.dir) > 60 * MIB, `${objectDiskBytes(fourth.dir)} bytes were copied`);
  await volume.check(client, 'through the first');
  client.close();
  const late = await NbdClient.open(fourth.nbd, 'disk');
  await volume.check(late, 'through the fourth');
  late.close();
  const check = await cluster.call('vdi.check', { name: 'disk', mode: 'compare' });
  assert.is(check.findings, 0);
}

function canMount(): boolean {
  const probe = mkdtempSync(join(tmpdir(), 'sheepfold-mount-'));
  const can = mount(probe, 'size=1m');
  if (can) execFileSync('umount', [probe]);
  rmdirSync(probe);
  return can;
}

const NAME =
  'recovery reserves its room first, stops when there is none, and goes on by itself when there is';
if (canMount()) {
  test(NAME, async () => {
    const cluster = await RealCluster.start({ sheep: 3 });
    const fourth = await cluster.spare('fourth');
    const isMounted = mount(fourth.dir, `size=${SMALL}`);
    const unmount = () => execFileSync('umount', ['--lazy', fourth.dir]);
    process.once('exit', unmount);
    try {
      assert.ok(isMounted);
      await run(cluster, fourth, () => mount(fourth.dir, `remount,size=${ENOUGH}`));
    } catch (error) {
      process.stderr.write(`${cluster.tails()}\n--- fourth\n${fourth.tail()}\n`);
      throw error;
    } finally {
      await fourth.kill();
      process.off('exit', unmount);
      unmount();
      await cluster.stop();
    }
  });
} else {
  process.stderr.write(`skipped: ${NAME} (needs the right to mount a tmpfs)\n`);
  test.skip(NAME, () => {});
}

test.run();
