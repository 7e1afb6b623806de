import { forEachLimit } from '../base/signal.js';
import { zeroOf } from '../cluster/objects/mutation.js';
import type { ObjectClient, Session } from '../cluster/objects/object-client.js';
import { dataOid } from '../wire/oid.js';
import { addressIn } from './directory.js';
import type { VdiRecord } from './records.js';

const PARALLEL = 4;

export type Progress = (done: number, total: number) => void;

export interface PreallocateOptions {
  readonly onProgress?: Progress | undefined;
  /** False: holes stay holes, and only what is shared becomes a copy of its own. */
  readonly holes?: boolean;
}

/** Gives every object of a version its room, so that later writes need none; shared ones become own copies. */
export async function preallocate(
  client: ObjectClient,
  session: Session,
  record: VdiRecord,
  index: Uint32Array,
  { onProgress = () => {}, holes = true }: PreallocateOptions = {},
): Promise<void> {
  const objectBytes = 2 ** record.blockSizeShift;
  let done = 0;
  await forEachLimit(index.keys(), PARALLEL, async (i) => {
    const owner = index[i]!;
    if (owner === 0 && !holes) return;
    const address = addressIn(record, dataOid(record.vid, i));
    const mode = owner === 0 ? ('create' as const) : ('cow' as const);
    const how = { mode, sync: false, allocate: true, ...(owner !== 0 && { parent: dataOid(owner, i) }) };
    await client.change(session, address, zeroOf(0, owner === 0 ? objectBytes : 0, how));
    index[i] = record.vid;
    onProgress(++done, index.length);
  });
  await client.flush(session, record);
}
