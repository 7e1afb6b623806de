import { AppError } from '../../base/errors.js';
import { type Element, type NbdDisk, nbdDisk, parseXml, volumeOf } from '../domain-xml.js';
import type { CheckpointDisk } from './manifest.js';

/**
 * The disks that a checkpoint of a domain holds: all that the guest can write. Rejects with AppError 'not-supported'
 * when one of them is not a volume of ours, or the machine has what cannot be taken along.
 */
export async function checkpointDisks(
  domainXml: string,
  isOurs: (disk: NbdDisk) => boolean,
): Promise<CheckpointDisk[]> {
  const devices = (await parseXml(domainXml, 'domain')).first('devices');
  refuseHostDevices(devices);
  const disks: CheckpointDisk[] = [];
  for (const element of (devices?.all('disk') ?? []).filter(isWritable)) {
    const target = element.first('target')?.attribute('dev') ?? '?';
    const disk = nbdDisk(element);
    if (disk === undefined || !isOurs(disk)) {
      throw refused(`its disk ${target} is not a volume of this cluster, and the guest can write to it`);
    }
    const { volume, snapshot } = volumeOf(disk.exportName);
    // Of a snapshot nothing is written, whatever the definition says.
    if (snapshot !== undefined) continue;
    if (element.first('shareable') !== undefined) throw refused(`its disk ${target} is shared with others`);
    if (disks.some((other) => other.volume === volume)) throw refused(`it has volume ${volume} twice`);
    disks.push({ target, volume });
  }
  if (disks.length === 0) throw refused('it has no volume of this cluster that it can write to');
  return disks;
}

function isWritable(disk: Element): boolean {
  return disk.attribute('device') !== 'cdrom' && disk.first('readonly') === undefined;
}

function refuseHostDevices(devices: Element | undefined): void {
  const passed = devices?.all('interface').some((one) => one.attribute('type') === 'hostdev') === true;
  if (passed || (devices?.all('hostdev') ?? []).length > 0) {
    throw refused('a device of the host is passed through to it, whose state nobody can save');
  }
}

function refused(reason: string): AppError {
  return new AppError('not-supported', reason);
}

/** The devices as they stand in a definition: to tell whether any came or went. */
export function devicesText(domainXml: string): string {
  return domainXml.slice(domainXml.lastIndexOf('<devices>'), domainXml.lastIndexOf('</devices>'));
}
