import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Conversation, type ConversationLimits } from '../../../src/relay/conversation.js';
import { Room } from '../../../src/relay/room.js';
import { FORMAT_PATIENCE_MS, LOCK_PATIENCE_MS } from '../../../src/relay/treatment.js';
import { type Frame, Framer } from '../../../src/wire/framer.js';
import { HEADER_BYTES, plainResponse } from '../../../src/wire/headers.js';
import { Flag, Op, Result } from '../../../src/wire/sheepdog.js';
import { encodeRequest, resultOf } from '../../helpers/sheepdog-client.js';

const LIMITS: ConversationLimits = { requestsMax: 100, bytesMax: 1_000_000 };

/** A conversation between a client that is a list of answers and a sheep that is a list of requests. */
class World {
  readonly room: Room;
  readonly conversation: Conversation;
  nowMs = 0;
  ended: string | undefined;
  left: string | undefined;
  /** What the present connection to a sheep has brought. */
  requests: Frame[] = [];
  readonly answers: Frame[] = [];
  private toSheepFramer = this.freshFramer();
  private readonly toClientFramer = Framer.forResponses((frame) => this.answers.push(frame));

  constructor(options: { limits?: ConversationLimits; isLocal?: boolean; roomBytes?: number } = {}) {
    this.room = new Room(options.roomBytes ?? 10_000_000);
    this.conversation = new Conversation({
      effects: {
        toClient: ({ parts }) => {
          for (const part of parts) this.toClientFramer.push(Buffer.from(part));
        },
        // What is sent is copied at once, as a socket would: the same bytes are changed when it is sent again.
        toSheep: ({ parts }) => {
          for (const part of parts) this.toSheepFramer.push(Buffer.from(part));
        },
        leaveSheep: (to) => {
          this.left = to;
          this.down();
        },
        endClient: (reason) => {
          this.ended = reason;
        },
      },
      clock: { nowMs: () => this.nowMs },
      room: this.room,
      isLocal: options.isLocal ?? true,
      limits: options.limits ?? LIMITS,
    });
  }

  ask(opcode: number, id: number, payload?: Buffer, dataLength?: number): void {
    const request = { opcode, ...(payload && { payload }), ...(dataLength !== undefined && { dataLength }) };
    this.conversation.fromClient(encodeRequest(request, id));
  }

  up(): void {
    this.requests = [];
    this.toSheepFramer = this.freshFramer();
    this.conversation.sheepIsUp();
  }

  down(): void {
    this.conversation.sheepIsGone();
  }

  answer(
    request: Frame,
    result: number = Result.SUCCESS,
    payload: Buffer = Buffer.alloc(0),
    flags = 0,
  ): Buffer {
    const { opcode, id } = request;
    const header = plainResponse.encode({ opcode, id, flags, dataLength: payload.length, result });
    return Buffer.concat([header, payload]);
  }

  give(request: Frame, result?: number, payload?: Buffer): void {
    this.conversation.fromSheep(this.answer(request, result, payload));
  }

  private freshFramer(): Framer {
    return Framer.forRequests((frame) => this.requests.push(frame));
  }
}

const seen = (frames: readonly Frame[]) => frames.map(({ opcode, payload }) => [opcode, payload.toString()]);

test('requests and answers pass, and the client sees its own numbers', () => {
  const world = new World();
  world.up();
  world.ask(Op.READ_OBJ, 700, undefined, 4);
  world.ask(Op.WRITE_OBJ, 701, Buffer.from('data'));
  assert.equal(
    world.requests.map(({ id }) => id),
    [0, 1],
  );
  world.give(world.requests[1]!);
  world.give(world.requests[0]!, Result.SUCCESS, Buffer.from('read'));
  assert.equal(
    world.answers.map(({ id, payload }) => [id, payload.toString()]),
    [
      [701, ''],
      [700, 'read'],
    ],
  );
  assert.is(world.conversation.unansweredCount, 0);
});

test('what is asked before a sheep is there waits for it', () => {
  const world = new World();
  world.ask(Op.READ_OBJ, 1, undefined, 4);
  world.ask(Op.NEW_VDI, 2, Buffer.from('name'));
  assert.is(world.requests.length, 0);
  world.up();
  assert.equal(
    world.requests.map(({ opcode }) => opcode),
    [Op.READ_OBJ, Op.NEW_VDI],
  );
});

test('after a break everything unanswered is asked again, in the order of asking, with its payload', () => {
  const world = new World();
  world.up();
  for (let i = 0; i < 5; i++) world.ask(Op.WRITE_OBJ, 40 + i, Buffer.from(`data ${i}`));
  world.give(world.requests[1]!);
  world.down();
  world.ask(Op.FLUSH_VDI, 99);
  world.up();
  const again = [0, 2, 3, 4].map((i) => [Op.WRITE_OBJ, `data ${i}`]);
  assert.equal(seen(world.requests), [...again, [Op.FLUSH_VDI, '']]);
  for (const request of [...world.requests].reverse()) world.give(request);
  assert.equal(
    world.answers.map(({ id }) => id),
    [41, 99, 44, 43, 42, 40],
  );
  assert.is(world.ended, undefined);
});

test('a break at every place of an answer gives the client each answer once and whole', () => {
  const payload = Buffer.from('0123456789');
  for (let cut = 0; cut <= 2 * (HEADER_BYTES + payload.length); cut++) {
    const world = new World();
    world.up();
    world.ask(Op.READ_OBJ, 5, undefined, payload.length);
    world.ask(Op.READ_OBJ, 6, undefined, payload.length);
    const bytes = Buffer.concat(world.requests.map((one) => world.answer(one, Result.SUCCESS, payload)));
    world.conversation.fromSheep(bytes.subarray(0, cut));
    world.down();
    world.up();
    assert.is(world.requests.length, 2 - Math.floor(cut / (HEADER_BYTES + payload.length)), `cut at ${cut}`);
    for (const request of world.requests) world.give(request, Result.SUCCESS, payload);
    assert.equal(
      world.answers.map((one) => [one.id, one.payload.toString()]),
      [
        [5, `${payload}`],
        [6, `${payload}`],
      ],
    );
  }
});

test('a break at every place of a request sends it once it is whole', () => {
  const bytes = encodeRequest({ opcode: Op.WRITE_OBJ, payload: Buffer.from('payload') }, 3);
  for (let cut = 0; cut <= bytes.length; cut++) {
    const world = new World();
    world.up();
    world.conversation.fromClient(Buffer.from(bytes.subarray(0, cut)));
    assert.is(world.requests.length, cut === bytes.length ? 1 : 0);
    world.down();
    world.up();
    world.conversation.fromClient(Buffer.from(bytes.subarray(cut)));
    assert.equal(seen(world.requests), [[Op.WRITE_OBJ, 'payload']], `cut at ${cut}`);
    world.give(world.requests[0]!);
    assert.equal(
      world.answers.map(({ id }) => id),
      [3],
    );
  }
});

test('a number that the client uses twice at a time is no trouble', () => {
  const world = new World();
  world.up();
  world.ask(Op.READ_OBJ, 0, undefined, 1);
  world.ask(Op.READ_OBJ, 0, undefined, 1);
  world.give(world.requests[1]!, Result.SUCCESS, Buffer.from('b'));
  world.down();
  world.up();
  assert.is(world.requests.length, 1);
  world.give(world.requests[0]!, Result.SUCCESS, Buffer.from('a'));
  assert.equal(
    world.answers.map(({ id, payload }) => [id, `${payload}`]),
    [
      [0, 'b'],
      [0, 'a'],
    ],
  );
});

test('a change of names that was under way at a break ends the client', () => {
  for (const opcode of [Op.NEW_VDI, Op.DEL_VDI, Op.RELEASE_VDI, Op.GET_VDI_ATTR, Op.MAKE_FS, Op.REMOVE_OBJ]) {
    const world = new World();
    world.up();
    world.ask(Op.READ_OBJ, 1, undefined, 1);
    world.ask(opcode, 2, Buffer.from('name'));
    world.down();
    assert.match(world.ended ?? '', /whether it was done is not known/);
  }
});

test('a change of names that was answered, or not yet sent, survives a break', () => {
  const world = new World();
  world.up();
  world.ask(Op.NEW_VDI, 1, Buffer.from('name'));
  world.give(world.requests[0]!, Result.VDI_EXIST);
  world.down();
  world.ask(Op.DEL_VDI, 2, Buffer.from('name'));
  world.up();
  assert.equal(
    world.requests.map(({ opcode }) => opcode),
    [Op.DEL_VDI],
  );
  assert.is(world.ended, undefined);
});

test('"not now" is no answer to I/O: the next sheep is asked, when nothing is under way here any more', () => {
  for (const result of [Result.SHUTDOWN, Result.WAIT_FOR_FORMAT, Result.WAIT_FOR_JOIN, Result.KILLED]) {
    const world = new World();
    world.up();
    world.ask(Op.WRITE_OBJ, 1, Buffer.from('under way'));
    world.ask(Op.WRITE_OBJ, 2, Buffer.from('refused'));
    world.give(world.requests[1]!, result);
    world.ask(Op.READ_OBJ, 3, undefined, 1);
    assert.is(world.requests.length, 2, 'nothing new for a sheep that stops');
    assert.is(world.left, undefined);
    world.give(world.requests[0]!);
    assert.is(world.left, 'elsewhere');
    world.up();
    assert.equal(seen(world.requests), [
      [Op.WRITE_OBJ, 'refused'],
      [Op.READ_OBJ, ''],
    ]);
    assert.equal(
      world.answers.map(({ id }) => id),
      [1],
    );
  }
});

test('an error of an object is an answer', () => {
  const world = new World();
  world.up();
  world.ask(Op.WRITE_OBJ, 1, Buffer.from('x'));
  world.give(world.requests[0]!, Result.READONLY);
  assert.equal(world.answers.map(resultOf), [Result.READONLY]);
});

test('who looks for a volume learns after a while that the cluster is not formatted', () => {
  const world = new World();
  const refuse = () => {
    world.up();
    world.give(world.requests[0]!, Result.WAIT_FOR_FORMAT);
  };
  world.ask(Op.LOCK_VDI, 1, Buffer.from('name'));
  refuse();
  world.nowMs += FORMAT_PATIENCE_MS - 1;
  refuse();
  assert.is(world.answers.length, 0);
  world.nowMs += 1;
  refuse();
  assert.equal(world.answers.map(resultOf), [Result.WAIT_FOR_FORMAT]);
});

test('who is locked out by the lock it took through a dead sheep asks the same sheep again for a while', () => {
  const world = new World();
  world.up();
  world.ask(Op.WRITE_OBJ, 1, Buffer.from('x'));
  world.give(world.requests[0]!, Result.VDI_LOCKED);
  assert.equal(world.answers.map(resultOf), [Result.VDI_LOCKED], 'with its first sheep it is an answer');
  world.down();
  world.ask(Op.WRITE_OBJ, 2, Buffer.from('y'));
  const refuse = () => {
    world.up();
    world.give(world.requests[0]!, Result.VDI_LOCKED);
  };
  refuse();
  assert.is(world.left, 'here');
  world.nowMs += LOCK_PATIENCE_MS - 1;
  refuse();
  assert.is(world.answers.length, 1);
  world.nowMs += 1;
  refuse();
  assert.is(world.answers.length, 2);
});

test('a refused change of names is the answer', () => {
  const world = new World();
  world.up();
  world.ask(Op.NEW_VDI, 1, Buffer.from('name'));
  world.give(world.requests[0]!, Result.SHUTDOWN);
  assert.equal(world.answers.map(resultOf), [Result.SHUTDOWN]);
});

test('it is full by count, by bytes and by the common room, and empties', () => {
  const small = { requestsMax: 3, bytesMax: 10_000 };
  const cases: [World, number][] = [
    [new World({ limits: small }), 1],
    [new World({ limits: small }), 3400],
    [new World({ roomBytes: 10_000 }), 3400],
  ];
  for (const [world, bytes] of cases) {
    world.up();
    for (let i = 0; i < 3; i++) {
      assert.is(world.conversation.isFull, false);
      world.ask(Op.WRITE_OBJ, i, Buffer.alloc(bytes));
    }
    assert.is(world.conversation.isFull, true);
    for (const request of world.requests) world.give(request);
    assert.is(world.conversation.isFull, false);
  }
});

test('who has nothing under way is not held up by others, and the room is given back at the end', () => {
  const world = new World({ roomBytes: 1000 });
  world.room.take(5000);
  assert.is(world.conversation.isFull, false);
  world.ask(Op.WRITE_OBJ, 0, Buffer.alloc(10));
  assert.is(world.conversation.isFull, true);
  world.room.give(5000);
  world.conversation.close();
  world.room.take(999);
  assert.is(world.room.isExhausted, false);
});

test('a client that has ended gets its last answers first', () => {
  const world = new World();
  world.up();
  world.ask(Op.READ_OBJ, 1, undefined, 1);
  world.conversation.clientEnded();
  assert.is(world.ended, undefined);
  world.down();
  world.up();
  world.give(world.requests[0]!, Result.SUCCESS, Buffer.from('x'));
  assert.is(world.answers.length, 1);
  assert.is(world.ended, 'the client has ended');
});

test('another sheep is refused, and so are payloads that no sheep takes', () => {
  const peer = new World();
  peer.conversation.fromClient(Buffer.concat([Buffer.from('SFP\x01'), Buffer.alloc(60)]));
  assert.match(peer.ended ?? '', /another sheep/);
  const long = new World();
  long.conversation.fromClient(
    encodeRequest({ opcode: Op.WRITE_OBJ, flags: Flag.WRITE, dataLength: 0xffffffff }),
  );
  assert.match(long.ended ?? '', /4294967295 bytes/);
});

test('control calls pass with all their answers for clients of this host only, and are never repeated', () => {
  const far = new World({ isLocal: false });
  far.ask(Op.CONTROL, 1, Buffer.from('{}'));
  assert.match(far.ended ?? '', /this host only/);
  const near = new World();
  near.up();
  near.ask(Op.CONTROL, 1, Buffer.from('{}'));
  const [call] = near.requests;
  near.conversation.fromSheep(near.answer(call!, Result.SUCCESS, Buffer.from('half way'), 1));
  assert.is(near.conversation.unansweredCount, 1);
  near.give(call!, Result.SUCCESS, Buffer.from('done'));
  assert.equal(
    near.answers.map(({ payload }) => `${payload}`),
    ['half way', 'done'],
  );
  near.ask(Op.CONTROL, 2, Buffer.from('{}'));
  near.down();
  assert.match(near.ended ?? '', /CONTROL was under way/);
});

test('a sheep that breaks the protocol ends the client', () => {
  const stranger = new World();
  stranger.up();
  stranger.ask(Op.READ_OBJ, 1, undefined, 4);
  const [request] = stranger.requests;
  stranger.give({ ...request!, id: 77 });
  assert.match(stranger.ended ?? '', /nobody asked/);
  const generous = new World();
  generous.up();
  generous.ask(Op.READ_OBJ, 1, undefined, 4);
  generous.give(generous.requests[0]!, Result.SUCCESS, Buffer.alloc(5));
  assert.match(generous.ended ?? '', /more bytes/);
  assert.is(generous.answers.length, 0);
});

test.run();
