/**
 * One fault after the other in a room under load: what each cost the guests, and how long the cluster took to be whole
 * again by itself.
 */
import { sleep, systemClock } from '../../src/base/clock.js';
import { longestBetween } from '../helpers/mirror-oracle.js';
import { within } from '../helpers/real-cluster.js';
import type { Guest } from './guest.js';
import type { Register } from './register.js';
import type { Room } from './room.js';
import type { HostSheep } from './sheep.js';

const MIB = 1024 * 1024;
/** What goes on while a fault lasts is looked at this often. */
const LOOK_MS = 250;
const REST_MS = 1000;
const NOTICE_DEADLINE_MS = 30_000;
/** What a sheep logs then. */
const LEASE_LOST = 'the lease was lost';

export interface Fault {
  readonly name: string;
  begin(room: Room): Promise<void> | void;
  readonly holdMs: number;
  /** Undoes it, as far as somebody has to: a network that works again, a process that is started again. */
  end?(room: Room): Promise<void> | void;
}

export interface Load {
  readonly room: Room;
  readonly guests: readonly Guest[];
  readonly register: Register;
}

/** Throws when anything was lost, stale or refused, or when the cluster does not heal. Prints a line. */
export async function runFault(load: Load, fault: Fault): Promise<void> {
  const { room, guests, register } = load;
  const sentBytes = room.network.sentBytes();
  const fromMs = performance.now();
  await fault.begin(room);
  await watch(load, fault.holdMs);
  await fault.end?.(room);
  const endedMs = performance.now();
  const healMs = await Promise.race([room.waitHealthy(), failed(load)]);
  const movedMib = (room.network.sentBytes() - sentBytes) / MIB;
  // Whole is not yet serving: the longest requests are those that are still under way.
  await Promise.race([Promise.all(guests.map((guest) => guest.goesOn())), failed(load)]);
  const servedMs = performance.now() - endedMs;
  const stalls = guests.map(({ oracle }) => Math.round(longestBetween(oracle.timings, 0, fromMs, Infinity)));
  const writes = register.count(
    'write',
    room.sheep.map(({ index }) => index),
    fromMs,
    endedMs,
  );
  process.stdout.write(
    `${fault.name}: held ${Math.round(endedMs - fromMs)} ms; ` +
      `longest stalls of the guests ${stalls.join(' and ')} ms; ` +
      `whole again ${Math.round(healMs)} ms and all serve ${Math.round(servedMs)} ms after its end; ` +
      `${writes} witness writes meanwhile; ${movedMib.toFixed(1)} MiB over the network\n`,
  );
  await watch(load, REST_MS);
}

/** Lets the load work for a while, and throws when it fails. */
export async function watch(load: Load, durationMs: number): Promise<void> {
  const endMs = performance.now() + durationMs;
  while (performance.now() < endMs) {
    check(load);
    await sleep(systemClock, Math.min(LOOK_MS, Math.max(0, endMs - performance.now())));
  }
  check(load);
}

function check({ guests, register }: Load): void {
  for (const guest of guests) guest.check();
  register.check();
}

/** Never resolves; rejects when the load fails. */
async function failed(load: Load): Promise<never> {
  for (;;) await watch(load, LOOK_MS);
}

export function oneWay(from: readonly number[], to: readonly number[], holdMs: number): Fault {
  return {
    name: `one way cut, ${from.join(' ')} to ${to.join(' ')}`,
    begin: (room) => room.network.cutOneWay(from, to),
    holdMs,
    end: (room) => room.network.heal(),
  };
}

export function twoWay(one: readonly number[], other: readonly number[], holdMs: number): Fault {
  return {
    name: `two way cut between ${one.join(' ')} and ${other.join(' ')}`,
    begin: (room) => room.network.cut(one, other),
    holdMs,
    end: (room) => room.network.heal(),
  };
}

export function isolated(hosts: readonly number[], holdMs: number): Fault {
  return {
    name: `${hosts.join(' ')} cut from all others`,
    begin: (room) => room.network.isolate(hosts),
    holdMs,
    end: (room) => room.network.heal(),
  };
}

/** A cable of 4 Mbit/s with a long queue that loses every fiftieth packet. */
export function slowLink(host: number, holdMs: number): Fault {
  return {
    name: `slow and lossy link of ${host}`,
    begin: (room) => room.network.shape(host, { rateKbit: 4000, lossPercent: 2, queuePackets: 100 }),
    holdMs,
    end: (room) => room.network.shape(host),
  };
}

/**
 * Longer than its lease: others go on without it, and what it still wanted to write is late. The first thing it must
 * do when it goes on is to find its lease gone; that its late writes changed nothing, the mirrors tell.
 */
export function frozen(host: number, holdMs: number): Fault {
  let told = 0;
  return {
    name: `sheep ${host} stopped by SIGSTOP`,
    begin(room) {
      told = leasesLost(room.sheep[host]!);
      room.sheep[host]!.freeze();
    },
    holdMs,
    async end(room) {
      room.sheep[host]!.thaw();
      await within(NOTICE_DEADLINE_MS, `sheep ${host} notices that it was away`, () => {
        return leasesLost(room.sheep[host]!) > told;
      });
    },
  };
}

function leasesLost(sheep: HostSheep): number {
  return sheep.log.split(LEASE_LOST).length - 1;
}

export function killed(host: number, holdMs: number): Fault {
  return {
    name: `sheep ${host} killed`,
    begin: (room) => room.sheep[host]!.kill(),
    holdMs,
    end: (room) => room.startSheep(),
  };
}

/** Every sheep and every member of the coordinator at once. */
export function allKilled(holdMs: number): Fault {
  return {
    name: 'everything killed',
    async begin(room) {
      const etcd = room.etcd?.members.map((member) => member.kill()) ?? [];
      await Promise.all([...room.sheep.map((one) => one.kill()), ...etcd]);
    },
    holdMs,
    async end(room) {
      await room.etcd?.start();
      await room.startSheep();
    },
  };
}

/** The same, but the machines come up with another boot id: what they had not synced counts as lost. */
export function allRebooted(holdMs: number): Fault {
  const { begin, end } = allKilled(holdMs);
  return {
    name: 'everything killed, and the machines booted anew',
    begin,
    holdMs,
    end(room) {
      for (const host of room.hosts) host.reboot();
      return end!(room);
    },
  };
}
