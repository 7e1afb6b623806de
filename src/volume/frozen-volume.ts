import { AppError } from '../base/errors.js';
import type { ClusterNode } from '../cluster/cluster-node.js';
import type { Session } from '../cluster/objects/object-client.js';
import type { BlockDevice } from './device.js';
import type { Directory, VersionName } from './directory.js';
import type { VdiRecord } from './records.js';
import { SnapshotHandle } from './snapshot-handle.js';
import { VolumeDevice } from './volume-device.js';
import { readIndex, VolumeIndex } from './volume-index.js';

export interface FrozenOptions {
  readonly cluster: ClusterNode;
  readonly directory: Directory;
}

/** A version that never changes, a snapshot or an image: it has no owner, any gateway reads it. */
export function openFrozen(
  options: FrozenOptions,
  version: VersionName,
  exportName: string,
): Promise<BlockDevice> {
  const open = () => openDevice(options, version, exportName);
  return SnapshotHandle.open(open, (ms) => options.cluster.objects.pause(ms));
}

/** The index of a version that may be deleted while it is read. 'no-vdi' or 'no-tag': it has been. */
export async function readFrozenIndex(
  { cluster, directory }: FrozenOptions,
  session: Session,
  record: VdiRecord,
): Promise<Uint32Array> {
  try {
    return await readIndex(cluster.client, session, record);
  } catch (error) {
    if (AppError.isCode(error, 'no-object')) await directory.confirmLive(record);
    throw error;
  }
}

/** The snapshot that an export called `volume@tag` or `volume@id` means. */
export function snapshotOfExport(exportName: string): VersionName | undefined {
  const at = exportName.lastIndexOf('@');
  if (at < 0) return undefined;
  const tag = exportName.slice(at + 1);
  return { name: exportName.slice(0, at), tag, snapId: /^[1-9]\d*$/.test(tag) ? Number(tag) : undefined };
}

/** Names of all exports: volumes, images, and their snapshots. */
export function exportNames(directory: Directory): string[] {
  const names: string[] = [];
  for (const line of directory.lines()) {
    if (directory.vdi(line.vid)?.state === 'live') names.push(line.name);
  }
  for (const vdi of directory.vdis()) {
    if (vdi.state !== 'live' || vdi.snapshotMs === 0) continue;
    const line = directory.line(vdi.line);
    if (line !== undefined) names.push(`${line.name}@${vdi.tag === '' ? vdi.snapId : vdi.tag}`);
  }
  return names.sort();
}

async function openDevice(
  { cluster, directory }: FrozenOptions,
  version: VersionName,
  name: string,
): Promise<BlockDevice> {
  const { client } = cluster;
  const record = await directory.findNow(version);
  const session = client.session();
  const entries = await readFrozenIndex({ cluster, directory }, session, record);
  const index = new VolumeIndex(client, session, record, entries);
  return new VolumeDevice({
    client,
    session,
    name,
    record,
    index,
    readOnly: true,
    confirmLive: () => directory.confirmLive(record),
    isDoubtful: () => !isSame(directory.vdi(record.vid), record),
    onReleased: () => {},
  });
}

function isSame(now: VdiRecord | undefined, { line, createdMs }: VdiRecord): boolean {
  return now?.state === 'live' && now.line === line && now.createdMs === createdMs;
}
