/**
 * Reads what arrives at a socket into buffers of ours. A stream of Node's takes new memory for each 64 KiB, and whoever
 * expects a MiB copies it together from sixteen pieces. Node can do better (`onread` of a `net.Socket`), but takes that
 * option for sockets that it connects, not for those that it accepts; these get it here, by what the option sets. No
 * version promises that this stays: where it is not found, nothing is changed, and the caller goes on with 'data'.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export interface ByteSink {
  /** Where the next bytes go: at least one, and to nowhere else until `filled` is called. */
  room(): Buffer;
  /** The beginning of what `room` returned last, which is the sink's again. */
  filled(bytes: Buffer): void;
}

interface Handle {
  useUserBuffer?(buffer: Buffer): void;
}

/**
 * From now on what arrives goes to `sink`, and 'data' is emitted no more; 'end', errors, `pause` and `resume` stay as
 * they are. For a socket that is paused, and stays so. Returns what the stream holds back, to be taken first; undefined
 * if it cannot be done, and nothing is changed then: it is not a plain socket, or this Node has it otherwise.
 */
export function readInto(stream: Duplex, sink: ByteSink): Buffer | undefined {
  // A TLS socket is one, too, but what arrives there are not the bytes that are meant.
  if (Object.getPrototypeOf(stream) !== Socket.prototype) return undefined;
  const handle: Handle | null | undefined = (stream as Socket & { _handle?: Handle | null })._handle;
  const slots = optionSlots(stream as Socket);
  if (slots === undefined || typeof handle?.useUserBuffer !== 'function') return undefined;
  const held = stream.readableLength > 0 ? (stream.read() as Buffer) : Buffer.alloc(0);
  const first = sink.room();
  Object.assign(stream, {
    [slots.buffer]: first,
    [slots.generate]: () => sink.room(),
    [slots.callback]: (count: number, buffer: Buffer) => sink.filled(buffer.subarray(0, count)),
  });
  handle.useUserBuffer(first);
  // A paused stream reads ahead to its high-water mark. This one has none.
  stream.pause();
  return held;
}

interface Slots {
  readonly buffer: symbol;
  readonly generate: symbol;
  readonly callback: symbol;
}

/** Where a socket keeps `onread`; undefined when it is not there, or in use. */
function optionSlots(socket: Socket): Slots | undefined {
  const unused = (name: string): symbol | undefined =>
    Object.getOwnPropertySymbols(socket).find(
      (symbol) => symbol.description === name && Reflect.get(socket, symbol) === null,
    );
  const [buffer, generate, callback] = [unused('kBuffer'), unused('kBufferGen'), unused('kBufferCb')];
  if (buffer === undefined || generate === undefined || callback === undefined) return undefined;
  return { buffer, generate, callback };
}
