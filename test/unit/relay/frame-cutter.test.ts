import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type CutFrame, FrameCutter } from '../../../src/relay/frame-cutter.js';
import { HEADER_BYTES } from '../../../src/wire/headers.js';

/** A frame whose payload counts from `seed`; its length stands where every header of the protocol has it. */
function frame(seed: number, payloadBytes: number): Buffer {
  const out = Buffer.alloc(HEADER_BYTES + payloadBytes);
  for (let i = 0; i < out.length; i++) out[i] = (seed + i) & 0xff;
  out.writeUInt32LE(payloadBytes, 12);
  return out;
}

function cutter(): { cutter: FrameCutter; frames: CutFrame[] } {
  const frames: CutFrame[] = [];
  const rule = (header: Buffer) => {
    const bytes = header.readUInt32LE(12);
    return bytes > 1_000_000 ? 'too long' : bytes;
  };
  return { cutter: new FrameCutter(rule, (one) => frames.push(one)), frames };
}

const whole = ({ parts }: CutFrame) => Buffer.concat(parts);
const sent = [frame(1, 0), frame(2, 100), frame(3, 0), frame(4, 1), frame(5, 47)];
const stream = Buffer.concat(sent);

function mustBeSent(frames: readonly CutFrame[]): void {
  assert.is(frames.length, sent.length);
  for (const [i, one] of frames.entries()) {
    assert.is(one.bytes, sent[i]!.length);
    assert.ok(one.parts[0]!.length >= HEADER_BYTES, 'the first part has the whole header');
    assert.equal(whole(one), sent[i]);
  }
}

test('frames come out whole wherever two cuts fall', () => {
  for (let first = 0; first <= stream.length; first++) {
    for (let second = first; second <= stream.length; second += 7) {
      const one = cutter();
      for (const [from, to] of [
        [0, first],
        [first, second],
        [second, stream.length],
      ] as const) {
        assert.is(one.cutter.push(Buffer.from(stream.subarray(from, to))), undefined);
      }
      mustBeSent(one.frames);
    }
  }
});

test('frames come out whole of single bytes, and small pieces are gathered', () => {
  const one = cutter();
  for (const byte of stream) one.cutter.push(Buffer.of(byte));
  mustBeSent(one.frames);
  assert.ok(one.frames.every(({ parts }) => parts.length <= 2));
});

test('large pieces are passed on as views, nothing is copied', () => {
  const payload = 200_000;
  const bytes = frame(9, payload);
  const one = cutter();
  const chunks = [bytes.subarray(0, 65536), bytes.subarray(65536, 131072), bytes.subarray(131072)];
  for (const chunk of chunks) one.cutter.push(chunk);
  assert.is(one.frames.length, 1);
  assert.ok(one.frames[0]!.parts.every((part) => part.buffer === bytes.buffer));
  assert.equal(whole(one.frames[0]!), bytes);
});

test('pieces of all sizes in one payload keep their order', () => {
  const bytes = frame(3, 300_000);
  const sizes = [10, 5000, 1, 4095, 4096, 70_000, 3, 3, 65_536, 9];
  const one = cutter();
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length]!;
    one.cutter.push(Buffer.from(bytes.subarray(at, at + size)));
    at += size;
  }
  assert.equal(whole(one.frames[0]!), bytes);
});

test('a header that breaks the rule stops the stream for ever', () => {
  for (const cut of [0, 20]) {
    const one = cutter();
    one.cutter.push(frame(1, 5));
    const bad = frame(2, 0);
    bad.writeUInt32LE(1_000_001, 12);
    if (cut > 0) one.cutter.push(bad.subarray(0, cut));
    assert.is(one.cutter.push(bad.subarray(cut)), 'too long');
    assert.is(one.cutter.push(frame(3, 0)), 'too long');
    assert.is(one.frames.length, 1);
  }
});

test('what is held of a frame is what has come of it', () => {
  const one = cutter();
  const bytes = frame(1, 100_000);
  one.cutter.push(bytes.subarray(0, 30));
  assert.is(one.cutter.heldBytes, 30);
  one.cutter.push(bytes.subarray(30, 5000));
  assert.is(one.cutter.heldBytes, 5000);
  one.cutter.push(bytes.subarray(5000));
  assert.is(one.cutter.heldBytes, 0);
});

test.run();
