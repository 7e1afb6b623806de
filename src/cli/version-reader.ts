import type { VdiRef } from '../control/api.js';
import type { Context } from './context.js';
import { Exit, exitCodes, refusal } from './exit.js';

const CALL_BYTES = 1024 * 1024;
const CALLS_IN_FLIGHT_MAX = 8;

/** Bytes [offset, end) of a volume or snapshot in order, read ahead with pipelined calls. Rejects with an Exit. */
export async function* readVersion(
  context: Context,
  ref: VdiRef,
  offset: number,
  end: number,
): AsyncGenerator<Buffer> {
  const waiting: Promise<Buffer>[] = [];
  for (let next = offset; next < end || waiting.length > 0; ) {
    while (next < end && waiting.length < CALLS_IN_FLIGHT_MAX) {
      const length = Math.min(end - next, CALL_BYTES - (next % CALL_BYTES));
      const call = readPart(context, ref, next, length);
      // The first failure is reported where it is awaited; the others must not count as unhandled.
      call.catch(() => {});
      waiting.push(call);
      next += length;
    }
    yield await waiting.shift()!;
  }
}

/** At most 4 MiB, as one call. Rejects with an Exit. */
export async function readPart(
  context: Context,
  ref: VdiRef,
  offset: number,
  length: number,
): Promise<Buffer> {
  try {
    const { blob } = await context.callWithBlob('vdi.read', { ...ref, offset, length });
    if (blob.length === length) return blob;
    throw new Exit(exitCodes.failure, `the sheep sent ${blob.length} bytes instead of ${length}`);
  } catch (error) {
    throw refusal(`Failed to read VDI ${ref.name} at offset ${offset}`, error);
  }
}
