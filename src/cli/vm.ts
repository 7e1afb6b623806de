import { AppError } from '../base/errors.js';
import { ALIAS_PREFIX } from '../vm/disk-xml.js';
import {
  type Domain,
  isSamePlace,
  type NbdDisk,
  type NbdPlace,
  parseDomain,
  volumeOf,
} from '../vm/domain-xml.js';
import { type Door, doorOf, placesOf } from '../vm/door.js';
import { Virsh } from '../vm/virsh.js';
import type { Context } from './context.js';
import { callSoon } from './doctor-collect.js';
import { Exit, exitCodes } from './exit.js';
import { fetchUpNodes } from './nodes.js';

/** What the commands of `dog vm` share: libvirt, the door of the sheep that is asked, and whose disk is whose. */

export interface LibvirtOptions {
  connect?: string;
}

export const libvirtOptions = [
  ['-c, --connect <uri>', "where libvirt is, as for 'virsh -c' (default: what virsh takes)"],
] as const;

export function virshOf({ connect }: LibvirtOptions): Virsh {
  return new Virsh({ uri: connect });
}

/** The door for guests of this host. */
export async function fetchDoor(context: Context): Promise<Door> {
  return doorOf({ host: context.host }, await context.call('node.doors', {}));
}

/** Where exports of the cluster are, here and on other hosts; sheep that do not answer are left out. */
export async function fetchPlaces(context: Context): Promise<NbdPlace[]> {
  const own = placesOf({ host: context.host }, await context.call('node.doors', {}));
  const nodes = await fetchUpNodes(context);
  const others = await Promise.allSettled(
    nodes.map(async (node) => placesOf(node, (await callSoon(node, 'node.doors', {})).result)),
  );
  return [...own, ...others.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))];
}

/** The disk is a volume of this cluster: by the mark that `dog vm` gives it, or by where it points to. */
export function isOurs(disk: NbdDisk, places: readonly NbdPlace[]): boolean {
  return (
    disk.alias?.startsWith(ALIAS_PREFIX) === true || places.some((place) => isSamePlace(place, disk.place))
  );
}

export interface FoundDomain extends Domain {
  readonly running: boolean;
  readonly persistent: boolean;
}

/** Rejects with AppError 'missing'. */
export async function fetchDomain(virsh: Virsh, name: string): Promise<FoundDomain> {
  const domain = await parseDomain(await virsh.domainXml(name));
  const info = await virsh.run(['dominfo', '--domain', name]);
  return {
    ...domain,
    running: !/^State: +(shut off|crashed)$/m.test(info),
    persistent: /^Persistent: +yes$/m.test(info),
  };
}

/** Changes both what runs and what is started the next time. */
export function scopeOf({ running, persistent }: FoundDomain): string[] {
  return [...(running ? ['--live'] : []), ...(persistent ? ['--config'] : [])];
}

/** The one disk that a user means by its name in the guest's definition, or by its volume. */
export function chosenDisk(domain: Domain, text: string): NbdDisk {
  const byTarget = domain.nbdDisks.find(({ target }) => target === text);
  if (byTarget !== undefined) return byTarget;
  const byVolume = domain.nbdDisks.filter(
    ({ exportName }) => exportName === text || volumeOf(exportName).volume === text,
  );
  if (byVolume.length === 1) return byVolume[0]!;
  const what = byVolume.length === 0 ? `has no volume ${text}` : `has ${text} more than once`;
  throw new Exit(exitCodes.missing, `Domain ${domain.name} ${what}`, { hint: hintOfDisks(domain) });
}

function hintOfDisks({ nbdDisks }: Domain): string {
  if (nbdDisks.length === 0) return 'None of its disks is on NBD.';
  const list = nbdDisks.map(({ target, exportName }) => `${target} (${exportName})`).join(', ');
  return `Its disks on NBD: ${list}.`;
}

/** Complaints of libvirt name the step; those of the sheep are told as ever. */
export function libvirtRefusal(prefix: string, error: unknown): never {
  if (!(error instanceof AppError)) throw error;
  throw new AppError(error.code, `${prefix}: ${error.message}`, { cause: error });
}
