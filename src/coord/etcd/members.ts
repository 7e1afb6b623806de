import { readFileSync } from 'node:fs';
import { type ChannelCredentials, credentials } from '@grpc/grpc-js';
import { type Clock, sleep } from '../../base/clock.js';
import { AppError } from '../../base/errors.js';
import type { Logger } from '../../base/log.js';
import type { Random } from '../../base/random.js';
import { type EtcdAddress, passwordOf } from './address.js';
import { RpcFailure } from './errors.js';
import { Member, type Stream, type StreamEvents } from './member.js';
import type { RpcName } from './rpc-schema.js';

/** A request that is not answered by all members within this rejects with AppError 'network'. */
export const REQUEST_LIMIT_MS = 5000;
/** A connection to one member, and a request that may be repeated, get this long before the next one is tried. */
const CONNECT_LIMIT_MS = 1000;
const TRY_LIMIT_MS = 1500;
/** Between rounds in which no member helped. */
const PAUSE_MS = 100;

export interface CallOptions {
  /** In all; REQUEST_LIMIT_MS without. */
  readonly limitMs?: number;
  /** For one member. */
  readonly tryLimitMs?: number;
}

export interface MembersOptions {
  readonly address: EtcdAddress;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/**
 * The members of one etcd: all calls go to one of them, until it fails; then to the next. What may have been done
 * is never sent again unless the caller says that twice is as good as once.
 */
export class Members {
  private readonly members: Member[];
  private readonly tls: ChannelCredentials;
  private at = 0;
  private token: string | undefined;
  private closed = false;

  /** Throws AppError 'usage' when a file that the address names cannot be read. */
  constructor(private readonly options: MembersOptions) {
    const { address } = options;
    this.tls = tlsOf(address);
    this.members = address.endpoints.map((endpoint) => this.open(endpoint));
    // Or all would ask the first.
    this.at = options.random.below(this.members.length);
  }

  get current(): Member {
    return this.members[this.at]!;
  }

  /** A request whose repetition does no harm: asked of one member after the other. */
  repeatable<Response>(name: RpcName, request: object, options: CallOptions = {}): Promise<Response> {
    return this.call(options, true, (member, token, limitMs) => member.unary(name, request, token, limitMs));
  }

  /** A request that is sent at most once. Rejects with AppError 'network' when its outcome is unknown. */
  once<Response>(name: RpcName, request: object, options: CallOptions = {}): Promise<Response> {
    return this.call(options, false, (member, token, limitMs) => member.unary(name, request, token, limitMs));
  }

  /** As `repeatable`, for calls of etcd that stream: one message, one answer. */
  exchange<Response>(name: RpcName, request: object, options: CallOptions = {}): Promise<Response> {
    return this.call(options, true, (member, token, limitMs) =>
      member.exchange(name, request, token, limitMs),
    );
  }

  /** A stream to the current member. Rejects when that cannot be reached now; the next try asks another. */
  stream<Response>(
    name: RpcName,
    events: StreamEvents<Response>,
  ): Promise<{ stream: Stream; member: Member }> {
    return this.call({ limitMs: CONNECT_LIMIT_MS }, true, async (member, token) => {
      return { stream: member.stream(name, token, events), member };
    });
  }

  /** This member fails or is silent: others are asked from now on. */
  passOver(member: Member): void {
    if (member !== this.current || this.closed) return;
    this.at = (this.at + 1) % this.members.length;
  }

  /** The connection to this member is not trusted any more: ends all that waits on it, and makes a new one. */
  restart(member: Member, reason: string): void {
    const index = this.members.indexOf(member);
    if (index < 0 || this.closed) return;
    this.options.log.warn({ endpoint: member.endpoint, reason }, 'gave up a connection to etcd');
    this.passOver(member);
    this.members[index] = this.open(member.endpoint);
    member.close(reason);
  }

  close(): void {
    this.closed = true;
    for (const member of this.members) member.close('closed');
  }

  private open(endpoint: string): Member {
    return new Member(endpoint, this.options.clock, this.tls);
  }

  private async call<Response>(
    { limitMs = REQUEST_LIMIT_MS, tryLimitMs = TRY_LIMIT_MS }: CallOptions,
    repeatable: boolean,
    run: (member: Member, token: string | undefined, limitMs: number) => Promise<Response>,
  ): Promise<Response> {
    const { clock } = this.options;
    const endMs = clock.nowMs() + limitMs;
    const leftMs = (mostMs: number): number => Math.max(1, Math.min(mostMs, endMs - clock.nowMs()));
    for (let tries = 1; ; tries++) {
      const member = this.current;
      try {
        if (this.closed) throw closedError();
        const token = await this.prepare(member, leftMs);
        return await run(member, token, leftMs(repeatable ? tryLimitMs : limitMs));
      } catch (error) {
        if (this.closed) throw closedError();
        if (!(error instanceof RpcFailure)) throw error;
        if (error.kind === 'login') this.token = undefined;
        else if (error.kind !== 'refused') this.passOver(member);
        const isFinal = error.kind === 'refused' || (error.kind === 'unknown' && !repeatable);
        if (isFinal || clock.nowMs() + PAUSE_MS >= endMs) throw error.toAppError();
        const isRoundOver = tries % this.members.length === 0;
        if (isRoundOver || error.kind === 'login') await sleep(clock, PAUSE_MS);
      }
    }
  }

  /** Connects and logs in. Nothing of the request itself was sent when this fails. */
  private async prepare(member: Member, leftMs: (mostMs: number) => number): Promise<string | undefined> {
    await member.connect(leftMs(CONNECT_LIMIT_MS));
    const { user: name } = this.options.address;
    if (name === undefined || this.token !== undefined) return this.token;
    const password = passwordOf(this.options.address) ?? '';
    try {
      const limitMs = leftMs(TRY_LIMIT_MS);
      const answer = await member.unary<{ token: string }>(
        'authenticate',
        { name, password },
        undefined,
        limitMs,
      );
      this.token = answer.token;
    } catch (error) {
      if (error instanceof RpcFailure && error.kind === 'unknown') {
        throw new RpcFailure('undone', error.code, error.message);
      }
      throw error;
    }
    return this.token;
  }
}

function closedError(): AppError {
  return new AppError('shutdown', 'the coordinator is closed');
}

function tlsOf({ tls, files }: EtcdAddress): ChannelCredentials {
  if (!tls) return credentials.createInsecure();
  const read = (name: 'ca' | 'cert' | 'key'): Buffer | null => {
    const path = files[name];
    if (path === undefined) return null;
    try {
      return readFileSync(path);
    } catch (error) {
      throw new AppError('usage', `${name} of the etcd address: ${AppError.from(error).message}`);
    }
  };
  try {
    return credentials.createSsl(read('ca'), read('key'), read('cert'));
  } catch (error) {
    throw AppError.from(error, 'usage');
  }
}
