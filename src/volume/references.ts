import type { ObjectClient, Session } from '../cluster/objects/object-client.js';
import { indexOf, kindOf, vidOf } from '../wire/oid.js';
import type { Directory } from './directory.js';
import type { VdiRecord } from './records.js';
import { objectCount, readIndexEntry } from './volume-index.js';

/**
 * Whether some version of a volume refers to this object, as the stored indexes say, which are never older than what
 * was acknowledged. False is certain only for versions that nobody changes: a copy is made before an index points to
 * it. Rejects when an index cannot be read.
 */
export async function isReferenced(
  directory: Directory,
  client: ObjectClient,
  session: Session,
  oid: bigint,
): Promise<boolean> {
  const record = directory.vdi(vidOf(oid));
  if (record === undefined) return false;
  const kind = kindOf(oid);
  if (kind === 'inode') return record.state !== 'deleted' || record.freed !== true;
  if (kind === 'vmstate') return record.state !== 'deleted' && indexOf(oid) < (record.vmObjects ?? 0);
  if (kind !== 'data') return true;
  for (const version of directory.family(record.root).values()) {
    if (await refersTo(client, session, version, oid)) return true;
  }
  return false;
}

async function refersTo(
  client: ObjectClient,
  session: Session,
  version: VdiRecord,
  oid: bigint,
): Promise<boolean> {
  const index = indexOf(oid);
  if (version.state === 'deleted' || index >= objectCount(version)) return false;
  // Its inode is being written.
  if (version.state === 'pending') return true;
  return (await readIndexEntry(client, session, version, index)) === vidOf(oid);
}
