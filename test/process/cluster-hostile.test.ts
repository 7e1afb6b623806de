// deadline: 240 s
/** Whoever only reaches the ports can neither stop a sheep nor make it grow (I-10, I-11). */
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sleep, systemClock } from '../../src/base/clock.js';
import { seeded } from '../helpers/mirror-oracle.js';
import { NbdClient } from '../helpers/nbd-client.js';
import { type RealCluster, type RealSheep, withCluster } from '../helpers/real-cluster.js';
import { BLOCK_BYTES, StampedVolume } from '../helpers/stamped-volume.js';

const MIB = 1024 * 1024;
const IDLE_CONNECTIONS = 10_000;
const CONNECTS_AT_ONCE = 200;
const GARBAGE_CONNECTIONS = 300;
const GROWTH_BYTES_MAX = 400 * MIB;
const VOLUME_BLOCKS = 1024;

function residentBytes(sheep: RealSheep): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${sheep.pid}/status`, 'utf8'))![1]) * 1024;
}

/** A client that writes and checks until it is told to stop; any failed request rejects. */
class SteadyClient {
  writes = 0;
  longestMs = 0;
  private stopped = false;
  private constructor(
    private readonly client: NbdClient,
    private readonly volume: StampedVolume,
  ) {}

  static async start(cluster: RealCluster): Promise<SteadyClient> {
    const sizeBytes = VOLUME_BLOCKS * BLOCK_BYTES;
    await cluster.call('vdi.create', { name: 'disk', sizeBytes });
    const client = await NbdClient.open(cluster.sheep[0]!.nbd, 'disk');
    return new SteadyClient(client, new StampedVolume(VOLUME_BLOCKS));
  }

  async while(body: () => Promise<void>): Promise<void> {
    const below = seeded(3);
    const work = (async () => {
      while (!this.stopped) {
        const startMs = performance.now();
        await this.volume.writeSomewhere(this.client, below);
        this.longestMs = Math.max(this.longestMs, performance.now() - startMs);
        this.writes++;
        await sleep(systemClock, 2);
      }
    })();
    await Promise.all([work, body().finally(() => (this.stopped = true))]);
    await this.volume.check(this.client, 'the steady client');
    this.client.close();
  }
}

/** Opens a connection and says nothing; the server may close it, now or later. */
function idleConnection(port: number, opened: Set<Socket>): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    opened.add(socket);
    socket.once('connect', () => resolve(true));
    socket.on('error', () => resolve(false));
    socket.resume();
  });
}

async function flood(port: number, opened: Set<Socket>): Promise<number> {
  let connected = 0;
  for (let i = 0; i < IDLE_CONNECTIONS; i += CONNECTS_AT_ONCE) {
    const some = Array.from({ length: CONNECTS_AT_ONCE }, () => idleConnection(port, opened));
    connected += (await Promise.all(some)).filter(Boolean).length;
  }
  return connected;
}

for (const door of ['port', 'nbdPort'] as const) {
  test(`ten thousand idle connections to the ${door} disturb neither a client nor new ones`, () =>
    withCluster({ deadlineMs: 100_000 }, async (cluster) => {
      const target = cluster.sheep[0]!;
      const steady = await SteadyClient.start(cluster);
      const beforeBytes = residentBytes(target);
      const opened = new Set<Socket>();
      await steady.while(async () => {
        const connected = await flood(target[door], opened);
        assert.is(connected, IDLE_CONNECTIONS);
        // While they are all there, another client and another caller get in.
        const { status } = await target.call('cluster.info', {});
        assert.is(status, 'running');
        const other = await NbdClient.open(target.nbd, 'disk');
        await other.read(0, BLOCK_BYTES);
        other.close();
      });
      const grownMib = Math.round((residentBytes(target) - beforeBytes) / MIB);
      process.stdout.write(
        `${door}: ${steady.writes} writes, longest ${Math.round(steady.longestMs)} ms, ${grownMib} MiB\n`,
      );
      assert.ok(grownMib * MIB < GROWTH_BYTES_MAX);
      for (const socket of opened) socket.destroy();
    }));
}

const headOf = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex');

/** Beginnings that each door takes for a client of its own, for a while. */
const beginnings: readonly Buffer[] = [
  Buffer.alloc(0),
  // A sheepdog request header, cut off; one that announces 4 GiB; a control call that does.
  headOf('02 02 0000'),
  headOf(`02 02 0100 00000000 01000000 ffffffff${'00'.repeat(32)}`),
  headOf(`02 e0 0100 00000000 01000000 ffffffff${'00'.repeat(32)}`),
  // NBD: client flags; then an option that announces 4 GiB.
  headOf('00000003'),
  headOf('00000003 49484156454f5054 00000007 ffffffff'),
  Buffer.from('GET /metrics HT'),
  Buffer.from('GET /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n'),
];

/** Sends a beginning and then noise, and leaves in one of three ways. Resolves when the connection is over. */
function garbage(port: number, below: (below: number) => number): Promise<void> {
  const noise = Buffer.from(Array.from({ length: below(below(4) === 0 ? 60_000 : 200) }, () => below(256)));
  const manner = below(3);
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(Buffer.concat([beginnings[below(beginnings.length)]!, noise]));
      if (manner === 0) socket.end();
      else if (manner === 1) socket.destroy();
      else setTimeout(() => socket.destroy(), below(500));
    });
    // Whoever speaks noise may be hung up on, or left waiting.
    socket.setTimeout(1000, () => socket.destroy());
    socket.on('error', () => {});
    socket.on('close', () => resolve());
    socket.resume();
  });
}

test('noise and half headers on every port stop nobody', () =>
  withCluster({ deadlineMs: 100_000 }, async (cluster) => {
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
    const below = seeded(seed);
    const pids = cluster.sheep.map((one) => one.pid);
    const steady = await SteadyClient.start(cluster);
    const before = cluster.sheep.map(residentBytes);
    await steady.while(async () => {
      for (let i = 0; i < GARBAGE_CONNECTIONS; i += 10) {
        const target = cluster.sheep[below(cluster.sheep.length)]!;
        const ports = [target.port, target.nbdPort, target.httpPort];
        await Promise.all(Array.from({ length: 10 }, () => garbage(ports[below(3)]!, below)));
      }
    });
    for (const [i, one] of cluster.sheep.entries()) {
      assert.ok(one.running && one.pid === pids[i], `sheep ${i} ended, seed ${seed}`);
      assert.ok(residentBytes(one) - before[i]! < GROWTH_BYTES_MAX, `sheep ${i} has grown, seed ${seed}`);
    }
    await cluster.waitHealthy();
  }));

test.run();
