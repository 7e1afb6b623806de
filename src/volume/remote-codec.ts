import { AppError } from '../base/errors.js';
import {
  emptyMessage,
  PEER_PAYLOAD_BYTES_MAX,
  PeerFlag,
  type PeerMessage,
  PeerType,
} from '../wire/peer-message.js';
import type { OwnerWriteOptions, VolumeDevice } from './volume-device.js';

/**
 * Operations on a volume that another gateway owns; in the message's `sequence`. `oid` is the line's id. Changes carry
 * their number in `parent`, which is one process's own, and in `commit` the version they mean, 0 for any.
 */
export const DeviceOp = {
  info: 1,
  read: 2,
  write: 3,
  zero: 4,
  discard: 5,
  flush: 6,
  status: 7,
  confirm: 8,
} as const;

export function deviceRequest(line: string, op: number, fields: Partial<PeerMessage> = {}): PeerMessage {
  return Object.assign(emptyMessage(PeerType.device), { oid: BigInt(`0x${line}`), sequence: op }, fields);
}

/** Changes can be asked for twice: see forwarded.ts. */
export function isChange(message: PeerMessage): boolean {
  const { sequence } = message;
  return sequence === DeviceOp.write || sequence === DeviceOp.zero || sequence === DeviceOp.discard;
}

export function lineOfMessage(message: PeerMessage): string {
  return message.oid.toString(16).padStart(12, '0');
}

/** The owner's side: does what the message says on its device. */
export async function serveDevice(
  device: VolumeDevice,
  message: PeerMessage,
  owner: Pick<OwnerWriteOptions, 'keep' | 'isWanted'> = {},
): Promise<PeerMessage> {
  const answer = emptyMessage(PeerType.device + 1);
  const { offset, length } = message;
  const fua = (message.flags & PeerFlag.sync) !== 0;
  const how =
    isChange(message) && message.commit !== 0
      ? { ...owner, fua, version: message.commit }
      : { ...owner, fua };
  switch (message.sequence) {
    case DeviceOp.info:
      answer.payload = Buffer.from(JSON.stringify(device.info()));
      break;
    case DeviceOp.read:
      if (length > PEER_PAYLOAD_BYTES_MAX) throw new AppError('invalid', 'too much for one message');
      answer.payload = await device.read(offset, length);
      break;
    case DeviceOp.write:
      await device.write(offset, message.payload, how);
      break;
    case DeviceOp.zero:
      await device.writeZeroes(offset, length, {
        ...how,
        mayUnmap: (message.flags & PeerFlag.allocate) === 0,
      });
      break;
    case DeviceOp.discard:
      await device.discard(offset, length, how);
      break;
    case DeviceOp.flush:
      await device.flush();
      break;
    case DeviceOp.status:
      answer.payload = Buffer.from(JSON.stringify(await device.blockStatus(offset, length, message.commit)));
      break;
    default:
      throw new AppError('not-supported', `device operation ${message.sequence} is not known here`);
  }
  return answer;
}

export function decodeJson<T>(payload: Uint8Array): T {
  return JSON.parse(Buffer.from(payload).toString()) as T;
}
