import { AppError } from '../base/errors.js';
import type { Links } from '../cluster/reach/links.js';
import { emptyMessage, PeerType } from '../wire/peer-message.js';
import { decodePayload, encodePayloadHead } from './frame.js';

const JSON_BYTES_MAX = 1024 * 1024;

export interface CallResult {
  readonly result: unknown;
  readonly blob?: Uint8Array;
}

/** Another sheep does the call. AppError of that sheep, or 'network'. */
export async function carryCall(
  links: Links,
  nodeId: string,
  method: string,
  params: unknown,
): Promise<CallResult> {
  const message = emptyMessage(PeerType.control);
  message.payload = encodePayloadHead({ method, params });
  const answer = await links.request(nodeId, message);
  const { json, blob } = decodePayload(Buffer.from(answer.payload), JSON_BYTES_MAX);
  return { result: (json as { result: unknown }).result, blob };
}

/** A call that another sheep carried here. */
export async function serveCarried(
  payload: Uint8Array,
  call: (method: string, params: unknown, blob: Uint8Array) => Promise<CallResult | undefined>,
): Promise<Uint8Array> {
  const { json, blob } = decodePayload(Buffer.from(payload), JSON_BYTES_MAX);
  const { method, params } = json as { method: string; params: unknown };
  const done = await call(method, params, blob);
  if (done === undefined) throw new AppError('not-supported', `control method ${method}`);
  const head = encodePayloadHead({ result: done.result ?? null });
  return done.blob === undefined ? head : Buffer.concat([head, done.blob]);
}
