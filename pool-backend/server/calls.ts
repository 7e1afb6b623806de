import type { Clock } from '../../src/base/clock.js';
import type { Logger } from '../../src/base/log.js';
import type { InUse } from '../pools/in-use.js';
import type { Registry } from '../pools/registry.js';
import { LibvirtError } from '../rpc/errors.js';
import type { ArgsOf, ProcedureName, ResultOf } from '../rpc/procedures.js';
import type { Session } from './session.js';
import type { Transfer, TransferChannel } from './transfer.js';

/** What all connections share. */
export interface Services {
  readonly registry: Registry;
  readonly inUse: InUse;
  readonly clock: Clock;
  readonly log: Logger;
  readonly hostname: string;
}

/** One call, while it is worked on. */
export interface Call {
  readonly services: Services;
  readonly session: Session;
  /** What begins with the reply, if the reply is no error. */
  transfer(begin: (channel: TransferChannel) => Transfer): void;
}

/** The implementation of some procedures, by name. */
export type Handlers<N extends ProcedureName> = {
  readonly [K in N]: (args: ArgsOf<K>, call: Call) => Promise<ResultOf<K>> | ResultOf<K>;
};

/** Throws LibvirtError 'invalid-arg' for flags that are not among the allowed ones. */
export function checkFlags(flags: number, allowed: number, libvirtName: string): void {
  const unknown = (flags & ~allowed) >>> 0;
  if (unknown === 0) return;
  const detail = `unsupported flags (0x${unknown.toString(16)}) in function ${libvirtName}`;
  throw new LibvirtError('invalid-arg', detail);
}

/** A number of bytes that came in. Throws LibvirtError 'invalid-arg' for one beyond all volumes. */
export function checkBytes(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new LibvirtError('invalid-arg', `${what} is larger than any volume`);
  }
  return Number(value);
}
