import { AppError } from '../base/errors.js';
import type { ControlResult } from '../control/api.js';
import { ALIAS_PREFIX } from './disk-xml.js';
import { isSamePlace, type NbdDisk, type NbdPlace, parseDomain, volumeOf } from './domain-xml.js';
import { rewritePlaces } from './rewrite.js';

/**
 * What libvirt's qemu hook does for a domain with volumes of ours. libvirt calls hooks while it holds the domain, and
 * waits for them: nothing here calls libvirt, and everything has an end.
 */

/** How long `prepare` waits for what ends by itself, in milliseconds. */
export interface HookLimits {
  /** A former client of the volume on its way out: a domain that is restarted at once. */
  readonly leavingMs: number;
  /** A cluster that lacks a sheep for a moment. */
  readonly wholeMs: number;
}

export const defaultHookLimits: HookLimits = { leavingMs: 3_000, wholeMs: 8_000 };

const LOOK_MS = 100;

export interface HookEvent {
  /** `prepare`, `started`, `release`, `migrate`, `restore`, ...: the second word that libvirt gives to a hook. */
  readonly operation: string;
  readonly domainXml: string;
}

/** What a hook needs to know of the cluster. Each call ends by itself, in time, with an AppError. */
export interface HookCluster {
  /** The door of the sheep of this host: known without asking it. */
  readonly ownPlace: NbdPlace;
  /** Places of all sheep. */
  places(): Promise<readonly NbdPlace[]>;
  claim(ref: { name: string; tag?: string; snapId?: number }): Promise<ControlResult<'vdi.claim'>>;
  release(name: string): Promise<void>;
  /** What is wrong with the cluster, in words: `blocking` what keeps reads or writes of some objects waiting. */
  troubles(): Promise<Troubles>;
}

export interface Troubles {
  readonly blocking: readonly string[];
  readonly warnings: readonly string[];
}

/** Remembers between two calls of the hook that a domain is on its way here. */
export interface Arrivals {
  expect(uuid: string): void;
  /** True once after `expect`. */
  take(uuid: string): boolean;
}

export interface HookOutcome {
  /** The domain's definition from now on; undefined: as it is. Heard for `migrate` and `restore` only. */
  readonly domainXml?: string;
  readonly warnings: readonly string[];
  /** Disks that do not wait for a sheep that is away, and could. */
  readonly impatient: readonly string[];
}

const nothing: HookOutcome = { warnings: [], impatient: [] };

/** Rejects with AppError: the domain must not start, and why. */
export async function runHook(
  event: HookEvent,
  cluster: HookCluster,
  arrivals: Arrivals,
  limits: HookLimits = defaultHookLimits,
): Promise<HookOutcome> {
  const domain = await parseDomain(event.domainXml);
  const disks = await ourDisks(domain.nbdDisks, cluster);
  if (disks.length === 0) return nothing;
  const uuid = domain.uuid ?? domain.name;
  switch (event.operation) {
    case 'migrate':
      arrivals.expect(uuid);
      return redirect(event.domainXml, disks, cluster);
    case 'restore':
      return redirect(event.domainXml, disks, cluster);
    case 'prepare': {
      const arriving = arrivals.take(uuid);
      await Promise.all(disks.map((disk) => claim(disk, cluster, arriving ? undefined : limits.leavingMs)));
      return { ...nothing, warnings: await untilWhole(cluster, limits.wholeMs) };
    }
    case 'started':
      return {
        ...nothing,
        impatient: disks.filter((disk) => disk.reconnectDelayS === undefined).map(({ target }) => target),
      };
    case 'release':
      // What nobody uses is given up after a moment anyway: the domain is gone, whatever happens here.
      await Promise.allSettled(
        disks
          .filter((disk) => !disk.readOnly)
          .map((disk) => cluster.release(volumeOf(disk.exportName).volume)),
      );
      return nothing;
    default:
      return nothing;
  }
}

/** The cluster is asked only when a disk may be ours and does not say so itself. */
async function ourDisks(disks: readonly NbdDisk[], cluster: HookCluster): Promise<NbdDisk[]> {
  const clear = (disk: NbdDisk) =>
    disk.alias?.startsWith(ALIAS_PREFIX) === true || isSamePlace(disk.place, cluster.ownPlace);
  if (disks.every(clear)) return [...disks];
  // A cluster that does not answer has no say in disks that point elsewhere.
  const places = await cluster.places().catch(() => []);
  return disks.filter((disk) => clear(disk) || places.some((place) => isSamePlace(place, disk.place)));
}

/**
 * A guest whose writes wait looks hung, and nobody knows why: it does not start then. A sheep that is being restarted
 * is waited for. Resolves with what is wrong besides; an administrator's tool that does not answer is in nobody's way.
 */
async function untilWhole(cluster: HookCluster, wholeMs: number): Promise<readonly string[]> {
  const endMs = performance.now() + wholeMs;
  for (;;) {
    const none: Troubles = { blocking: [], warnings: [] };
    const { blocking, warnings } = await cluster.troubles().catch(() => none);
    if (blocking.length === 0) return warnings;
    if (performance.now() > endMs)
      throw new AppError('halt', `${blocking.join(' ')} 'dog doctor' says what to do`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}

/** This host's own sheep is the gateway here, whatever the host was that the domain comes from. */
async function redirect(
  domainXml: string,
  disks: readonly NbdDisk[],
  cluster: HookCluster,
): Promise<HookOutcome> {
  const targets = new Set(disks.map(({ target }) => target));
  const rewritten = await rewritePlaces(domainXml, (disk) =>
    targets.has(disk.target) ? cluster.ownPlace : undefined,
  );
  return rewritten === domainXml ? nothing : { ...nothing, domainXml: rewritten };
}

/**
 * The sheep of this host takes the volume, which also shows that the cluster can serve it. Others who use it are given
 * so long to leave; undefined: they may stay, as the source of a domain that comes here does until it has handed over.
 */
async function claim(disk: NbdDisk, cluster: HookCluster, leavingMs: number | undefined): Promise<void> {
  const { volume, snapshot } = volumeOf(disk.exportName);
  const ref = {
    name: volume,
    ...(snapshot !== undefined &&
      (/^\d+$/.test(snapshot) ? { snapId: Number(snapshot) } : { tag: snapshot })),
  };
  const shared = disk.readOnly || disk.element.first('shareable') !== undefined;
  const endMs = performance.now() + (leavingMs ?? 0);
  for (;;) {
    const { users } = await cluster.claim(ref).catch((error: unknown) => {
      const { code, message } = AppError.from(error);
      throw new AppError(code, `volume ${disk.exportName} (${disk.target}): ${message}`, { cause: error });
    });
    if (users === 0 || shared || leavingMs === undefined) return;
    if (performance.now() > endMs) {
      throw new AppError(
        'vdi-locked',
        `volume ${disk.exportName} (${disk.target}) is in use by another client; stop that one first, ` +
          'or mark the disk <shareable/>',
      );
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
