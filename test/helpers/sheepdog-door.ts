/** One real cluster for all tests of a file, seen through the sheepdog door of its sheep. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SeededRandom } from '../../src/base/random.js';
import { formatOid } from '../../src/wire/oid.js';
import { NbdClient } from './nbd-client.js';
import { RealCluster, type RealClusterOptions, type RealSheep, within } from './real-cluster.js';
import { freshConnections, SheepdogCalls } from './sheepdog-calls.js';
import { type Address, type ClientOptions, SheepdogClient } from './sheepdog-client.js';

const TEST_DEADLINE_MS = 45_000;

export interface Connected {
  readonly client: SheepdogClient;
  readonly calls: SheepdogCalls;
}

export class SheepdogDoor {
  private readonly opened: { close(): void }[] = [];

  constructor(readonly cluster: RealCluster) {}

  sheep(index = 0): RealSheep {
    return this.cluster.sheep[index]!;
  }

  address(index = 0): Address {
    return { host: '127.0.0.1', port: this.sheep(index).port };
  }

  /** Calls that each go by a connection of their own. */
  fresh(index = 0): SheepdogCalls {
    return new SheepdogCalls(freshConnections(this.address(index)));
  }

  /** A connection that stays until the end of the test. */
  async connect(index = 0, options: ClientOptions = {}): Promise<Connected> {
    const client = await SheepdogClient.connect(this.address(index), options);
    this.opened.push(client);
    return { client, calls: new SheepdogCalls((request) => client.request(request)) };
  }

  async nbd(exportName: string, index = 0): Promise<NbdClient> {
    const client = await NbdClient.open(this.sheep(index).nbd, exportName);
    this.opened.push(client);
    return client;
  }

  closeAll(): void {
    for (const one of this.opened.splice(0)) one.close();
  }
}

interface Tests {
  (name: string, body: () => Promise<void>): void;
  before(hook: () => Promise<void>): void;
  after(hook: () => Promise<void>): void;
}

export type DoorTest = (name: string, body: (door: SheepdogDoor) => Promise<void>) => void;

/** Tests of the file get the door, a deadline each, and on a failure the tails of all logs. */
export function doorTests(test: Tests, options: RealClusterOptions = {}): DoorTest {
  let door: SheepdogDoor | undefined;
  test.before(async () => {
    door = new SheepdogDoor(await RealCluster.start(options));
  });
  test.after(async () => {
    await door?.cluster.stop();
  });
  return (name, body) =>
    test(name, async () => {
      try {
        await deadline(TEST_DEADLINE_MS, () => body(door!));
      } catch (error) {
        for (const one of door!.cluster.sheep) {
          if (!one.running) process.stderr.write(`--- sheep ${one.index} has ended\n${one.tail()}\n`);
        }
        throw error;
      } finally {
        door!.closeAll();
      }
    });
}

async function deadline(deadlineMs: number, body: () => Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end after ${deadlineMs} ms`)), deadlineMs);
  });
  await Promise.race([body(), late]).finally(() => clearTimeout(timer));
}

/** Bytes that say where they come from; never all zeros. */
export function pattern(seed: number, bytes: number): Buffer {
  return new SeededRandom(seed).bytes(bytes);
}

export function residentBytes(sheep: RealSheep): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${sheep.pid}/status`, 'utf8'))![1]) * 1024;
}

/** Waits until no sheep stores the object any more: what the server does after it has answered. */
export async function untilGone(door: SheepdogDoor, oid: bigint): Promise<void> {
  await within(15_000, `object ${formatOid(oid)} is freed`, () =>
    door.cluster.sheep.every(({ dir }) => !storedObjects(dir).has(formatOid(oid))),
  );
}

/** Names of all objects in a sheep's store, as an administrator would find them. */
function storedObjects(dir: string): Set<string> {
  const names = readdirSync(join(dir, 'store'), { recursive: true, withFileTypes: true }).map(
    ({ name }) => name,
  );
  return new Set(names.map((name) => name.replace(/\..*$/, '')));
}
