import {
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  connectivityState,
  Metadata,
} from '@grpc/grpc-js';
import type { Clock } from '../../base/clock.js';
import { failureFrom, RpcFailure } from './errors.js';
import { type RpcName, rpcMethods } from './rpc-schema.js';

/** A connection that is tried in vain is tried again within these. */
const RECONNECT_MIN_MS = 50;
const RECONNECT_MAX_MS = 1000;

const channelOptions = {
  // Whether a call may be sent twice is decided here, not in the library.
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_http_proxy': 0,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.initial_reconnect_backoff_ms': RECONNECT_MIN_MS,
  'grpc.max_reconnect_backoff_ms': RECONNECT_MAX_MS,
  // A list of ten thousand volumes comes in pages, each of some MiB.
  'grpc.max_receive_message_length': 64 * 1024 * 1024,
};

/** What the other side of a stream does. Nothing is called after `cancel`, nor after `onEnd`. */
export interface StreamEvents<Response> {
  onMessage(message: Response): void;
  onEnd(failure: RpcFailure): void;
}

export interface Stream {
  send(message: object): void;
  cancel(): void;
}

/**
 * Calls to one member of etcd over one connection. Each call has a time limit of its own, and rejects with
 * RpcFailure.
 */
export class Member {
  private readonly client: Client;
  private readonly running = new Set<(reason: string) => void>();
  private closed = false;

  constructor(
    readonly endpoint: string,
    private readonly clock: Clock,
    tls: ChannelCredentials,
  ) {
    this.client = new Client(endpoint, tls, channelOptions);
  }

  /** Resolves once connected; rejects ('undone') as soon as that is seen to fail, or after the limit. */
  async connect(limitMs: number): Promise<void> {
    const channel = this.client.getChannel();
    const endMs = this.clock.nowMs() + limitMs;
    for (;;) {
      if (this.closed) throw new RpcFailure('undone', 'network', 'connection closed');
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) return;
      const leftMs = endMs - this.clock.nowMs();
      if (state === connectivityState.TRANSIENT_FAILURE || leftMs <= 0) {
        throw new RpcFailure('undone', 'network', `cannot connect to ${this.endpoint}`);
      }
      // Ends with an error at its time limit; the loop looks for itself. It wants a date of the wall clock.
      await new Promise<void>((resolve) => {
        channel.watchConnectivityState(state, Date.now() + leftMs, () => resolve());
      });
    }
  }

  /** One request, one answer. */
  unary<Response>(
    name: RpcName,
    request: object,
    token: string | undefined,
    limitMs: number,
  ): Promise<Response> {
    const { path, requestSerialize, responseDeserialize } = rpcMethods[name];
    return new Promise((resolve, reject) => {
      const call = this.client.makeUnaryRequest<object, object>(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        metadataWith(token),
        (error, response) => {
          finish();
          if (error === null) resolve(response as Response);
          else reject(failureFrom(error.code, error.details));
        },
      );
      const finish = this.limited(limitMs, (reason) => {
        reject(new RpcFailure('unknown', 'network', `${this.endpoint}: ${reason}`));
        call.cancel();
      });
    });
  }

  /** One message and its answer on a stream of its own. */
  exchange<Response>(
    name: RpcName,
    request: object,
    token: string | undefined,
    limitMs: number,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const stream = this.stream<Response>(name, token, {
        onMessage: (message) => {
          finish();
          stream.cancel();
          resolve(message);
        },
        onEnd: (failure) => {
          finish();
          reject(failure);
        },
      });
      const finish = this.limited(limitMs, (reason) => {
        stream.cancel();
        reject(new RpcFailure('unknown', 'network', `${this.endpoint}: ${reason}`));
      });
      stream.send(request);
    });
  }

  stream<Response>(name: RpcName, token: string | undefined, events: StreamEvents<Response>): Stream {
    const { path, requestSerialize, responseDeserialize } = rpcMethods[name];
    const call: ClientDuplexStream<object, object> = this.client.makeBidiStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      metadataWith(token),
    );
    let over = false;
    const end = (failure: RpcFailure): void => {
      if (over) return;
      over = true;
      this.running.delete(breakOff);
      call.cancel();
      events.onEnd(failure);
    };
    const breakOff = (reason: string): void => end(new RpcFailure('unknown', 'network', reason));
    this.running.add(breakOff);
    call.on('data', (message: Response) => {
      if (!over) events.onMessage(message);
    });
    call.on('error', (error: { code: number; details: string }) =>
      end(failureFrom(error.code, error.details)),
    );
    call.on('end', () => breakOff('the stream was ended'));
    return {
      send: (message) => void (over || call.write(message)),
      cancel: () => {
        over = true;
        this.running.delete(breakOff);
        call.cancel();
      },
    };
  }

  /** Ends the connection and all that waits on it. */
  close(reason: string): void {
    this.closed = true;
    for (const end of [...this.running]) end(reason);
    this.client.close();
  }

  /** Runs `onOver` when the limit is reached or the connection is given up, unless the returned function came first. */
  private limited(limitMs: number, onOver: (reason: string) => void): () => void {
    const over = (reason: string): void => {
      finish();
      onOver(reason);
    };
    const timer = this.clock.after(limitMs, () => over(`no answer within ${Math.round(limitMs)} ms`));
    const finish = (): void => {
      timer.cancel();
      this.running.delete(over);
    };
    this.running.add(over);
    return finish;
  }
}

/** A member that has lost its leader refuses at once, and ends its streams, instead of waiting for better days. */
function metadataWith(token: string | undefined): Metadata {
  const metadata = new Metadata();
  metadata.set('hasleader', 'true');
  if (token !== undefined) metadata.set('token', token);
  return metadata;
}
