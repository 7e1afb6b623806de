// deadline: 600 s
/** 200 virsh at a time for a minute: every refusal is a right one, and the daemon is afterwards what it was before. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { PoolDaemon, poolXml } from '../helpers/pool-daemon.js';
import { withCluster, within } from '../helpers/real-cluster.js';
import { requires } from '../helpers/requires.js';

const CLIENTS = 200;
/** As long as the heap takes to come to the size it needs for so many clients. */
const WARM_UP_MS = 30_000;
const RUN_MS = 60_000;
const SETTLE_MS = 30_000;
const SHARED_NAMES = 10;
const LISTING = 25;
/** Resident: the heap keeps the size that the load once asked for. */
const RESIDENT_GROWTH_MAX = 32 * 1024 * 1024;
/** After a collection: a kilobyte kept for each command would be three times this. */
const HELD_GROWTH_MAX = 1024 * 1024;

interface Command {
  readonly words: readonly string[];
  /** A refusal that somebody else's command explains; without, there must be none. */
  readonly mayFail?: RegExp;
}

const GONE = /Storage volume not found|failed to get vol/;

/** One client's turn: its own volume from its making to its end, and volumes that all fight for. */
function turn(client: number, round: number, data: string): Command[] {
  const own = `own-${client}`;
  const shared = `shared-${(client + round) % SHARED_NAMES}`;
  const busy = /still in use|has \d+ snapshots|Storage volume not found|failed to get vol/;
  return [
    { words: ['vol-create-as', 'vms', own, '8M'] },
    { words: ['vol-upload', own, data, '--pool', 'vms'] },
    { words: ['vol-create-as', 'vms', shared, '4M'], mayFail: /exists already/ },
    { words: ['vol-info', own, 'vms'] },
    { words: ['vol-clone', shared, `clone-${client}`, '--pool', 'vms'], mayFail: GONE },
    // Each asks for every volume: enough of them do.
    ...(client % LISTING === 0 ? [{ words: ['vol-list', 'vms', '--details'], mayFail: GONE }] : []),
    { words: ['vol-download', own, '/dev/null', '--pool', 'vms'] },
    { words: ['pool-list', '--all', '--details'] },
    { words: ['vol-dumpxml', shared, 'vms'], mayFail: GONE },
    { words: ['vol-resize', own, '12M', '--pool', 'vms'] },
    { words: ['vol-delete', shared, 'vms'], mayFail: busy },
    { words: ['vol-delete', `clone-${client}`, 'vms'], mayFail: GONE },
    { words: ['pool-refresh', 'vms'] },
    { words: ['pool-info', 'vms'] },
    { words: ['vol-delete', own, 'vms'] },
  ];
}

/** Every client works until the time is over, and ends its turn. Returns how many commands there were. */
async function load(
  daemon: PoolDaemon,
  data: string,
  forMs: number,
): Promise<{ done: number; refused: number }> {
  const endMs = performance.now() + forMs;
  const counts = { done: 0, refused: 0 };
  const wrong: string[] = [];
  const client = async (number: number): Promise<void> => {
    for (let round = 0; performance.now() < endMs; round++) {
      for (const { words, mayFail } of turn(number, round, data)) {
        const { exit, stderr } = await daemon.virsh(...words);
        counts.done++;
        if (exit === 0) continue;
        counts.refused++;
        if (mayFail === undefined || !mayFail.test(stderr))
          wrong.push(`${words.join(' ')}: ${exit} ${stderr}`);
      }
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, number) => client(number)));
  assert.equal(wrong.slice(0, 10), []);
  return counts;
}

/** Memory once all clients are gone, and their descriptors with them. */
async function settled(daemon: PoolDaemon, descriptors: number): Promise<{ resident: number; held: number }> {
  await within(SETTLE_MS, `${descriptors} descriptors are left`, () => daemon.descriptors <= descriptors);
  await sleep(systemClock, 3000);
  return { resident: daemon.residentBytes, held: await daemon.heldBytes() };
}

const mib = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1);

requires(test, 'virsh')('200 virsh at a time find no wrong error, and leave nothing behind', () =>
  withCluster({ deadlineMs: 580_000 }, async (cluster) => {
    const folder = mkdtempSync(join(tmpdir(), 'sheepfold-pools-'));
    const data = join(folder, 'data');
    writeFileSync(join(folder, 'pool.xml'), poolXml('vms', cluster.sheep[0]!.port, 'ns'));
    writeFileSync(data, Buffer.alloc(1024 * 1024, 'sheep'));
    try {
      await PoolDaemon.with(folder, ['--log-level', 'warning'], async (daemon) => {
        await daemon.ok('pool-define', join(folder, 'pool.xml'));
        await daemon.ok('pool-start', 'vms');
        const { descriptors } = daemon;
        await load(daemon, data, WARM_UP_MS);
        const before = await settled(daemon, descriptors);
        const { done, refused } = await load(daemon, data, RUN_MS);
        const after = await settled(daemon, descriptors);
        process.stdout.write(
          `${done} commands, ${refused} rightly refused; resident ${mib(before.resident)} MiB before, ` +
            `${mib(after.resident)} after; held ${mib(before.held)} and ${mib(after.held)}\n`,
        );
        assert.ok(done >= CLIENTS * 14, `${done} commands`);
        const resident = after.resident - before.resident;
        assert.ok(resident < RESIDENT_GROWTH_MAX, `${mib(resident)} MiB more resident`);
        const held = after.held - before.held;
        assert.ok(held < HELD_GROWTH_MAX, `${mib(held)} MiB more held`);
        const left = (await cluster.call('vdi.list', {})).filter(({ snapshot }) => snapshot);
        assert.equal(
          left.map(({ name, tag }) => `${name}@${tag}`),
          [],
        );
      });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }),
);

test.run();
