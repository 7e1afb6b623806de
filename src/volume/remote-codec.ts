import { AppError } from '../base/errors.js';
import { emptyMessage, PeerFlag, type PeerMessage, PeerType } from '../wire/peer-message.js';
import type { BlockDevice, Extent } from './device.js';

/** Operations on a volume that another gateway owns; in the message's `sequence`. `oid` is the line's id. */
export const DeviceOp = { info: 1, read: 2, write: 3, zero: 4, discard: 5, flush: 6, status: 7 } as const;

export function deviceRequest(line: string, op: number, fields: Partial<PeerMessage> = {}): PeerMessage {
  return Object.assign(emptyMessage(PeerType.device), { oid: BigInt(`0x${line}`), sequence: op }, fields);
}

export function lineOfMessage(message: PeerMessage): string {
  return message.oid.toString(16).padStart(12, '0');
}

/** The owner's side: does what the message says on its device. */
export async function serveDevice(device: BlockDevice, message: PeerMessage): Promise<PeerMessage> {
  const answer = emptyMessage(PeerType.device + 1);
  const { offset, length } = message;
  const fua = (message.flags & PeerFlag.sync) !== 0;
  switch (message.sequence) {
    case DeviceOp.info:
      answer.payload = Buffer.from(JSON.stringify(device.info()));
      break;
    case DeviceOp.read:
      answer.payload = await device.read(offset, length);
      break;
    case DeviceOp.write:
      await device.write(offset, message.payload, { fua });
      break;
    case DeviceOp.zero:
      await device.writeZeroes(offset, length, { fua, mayUnmap: (message.flags & PeerFlag.allocate) === 0 });
      break;
    case DeviceOp.discard:
      await device.discard(offset, length, { fua });
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

export type ExtentList = Extent[];
