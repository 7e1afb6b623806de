import { AppError } from '../../base/errors.js';
import { codeOfResult, resultOfCode } from '../../net/peer-codec.js';
import { emptyMessage, PEER_PROTOCOL_VERSION, type PeerMessage, PeerType } from '../../wire/peer-message.js';

/**
 * The first message on a link, and what is common to all answers.
 *
 * `hello` opens a link, after which only it counts of all links from that node. A `ping` as the first message asks
 * only whether this node can be reached at this address, and counts for nothing else. Both have the same payload, JSON.
 */
export interface Hello {
  /** Who speaks, and since which start. */
  readonly nodeId: string;
  readonly incarnation: string;
  /** A format of a cluster. */
  readonly formatId: string;
  /** Who is meant. */
  readonly to: string;
}

export function helloMessage(hello: Hello, type: number = PeerType.hello): PeerMessage {
  const message = emptyMessage(type);
  message.payload = Buffer.from(JSON.stringify({ version: PEER_PROTOCOL_VERSION, ...hello }));
  return message;
}

/** What a first message says, or why it is not accepted. */
export function readHello(
  message: PeerMessage,
  self: { readonly selfId: string; readonly formatId: string },
): Hello | AppError {
  const hello = parseHello(message.payload);
  const refuse = (text: string) => new AppError('version', text);
  if (hello === undefined) return refuse('a peer must say hello first');
  if (hello.version !== PEER_PROTOCOL_VERSION)
    return refuse(`peer protocol ${hello.version} is not spoken here`);
  if (hello.formatId !== self.formatId) return refuse('the peer belongs to another cluster');
  if (hello.to !== self.selfId) return refuse('the peer looks for another node');
  return hello;
}

/** An answer that carries what went wrong: the code as the result, the text as the payload. */
export function errorAnswer(request: PeerMessage, error: AppError): PeerMessage {
  const answer = emptyMessage(request.type + 1);
  answer.id = request.id;
  answer.result = resultOfCode(error.code);
  answer.payload = Buffer.from(error.message);
  return answer;
}

export function throwIfError(answer: PeerMessage): PeerMessage {
  if (answer.result === 0) return answer;
  throw new AppError(codeOfResult(answer.result), Buffer.from(answer.payload).toString());
}

function parseHello(payload: Uint8Array): (Hello & { version: number }) | undefined {
  try {
    const value = JSON.parse(Buffer.from(payload).toString()) as Partial<Hello>;
    if (typeof value.nodeId !== 'string' || typeof value.incarnation !== 'string') return undefined;
    return value as Hello & { version: number };
  } catch {
    // Not JSON: not one of ours.
    return undefined;
  }
}
