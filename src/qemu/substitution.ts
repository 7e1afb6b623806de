import { Transform, type TransformCallback } from 'node:stream';

/** What a user wrote, put back wherever the real tool prints what it was given instead. Longest first. */
export class Substitutions {
  private pairs: [from: string, to: string][] = [];

  /** The first meaning of a text stays: one volume may be named twice in two ways. */
  add(from: string, to: string): void {
    if (from === '' || this.pairs.some(([known]) => known === from)) return;
    this.pairs.push([from, to]);
    this.pairs.sort(([a], [b]) => b.length - a.length);
  }

  get isEmpty(): boolean {
    return this.pairs.length === 0;
  }

  apply(text: string): string {
    return this.split(text, true).done;
  }

  /** Replaces what is complete; what may be the beginning of a match is kept unless this is the end. */
  private split(text: string, isEnd: boolean): { done: string; rest: string } {
    let done = '';
    let at = 0;
    for (const match of this.pairs.length === 0 ? [] : text.matchAll(this.pattern())) {
      // The text may go on to be a longer one that begins alike.
      if (!isEnd && this.beginsLonger(text.slice(match.index))) break;
      done += text.slice(at, match.index) + this.pairs.find(([from]) => from === match[0])![1];
      at = match.index + match[0].length;
    }
    const tail = text.slice(at);
    const keptLength = isEnd ? 0 : this.beginningAtEnd(tail);
    return {
      done: done + tail.slice(0, tail.length - keptLength),
      rest: tail.slice(tail.length - keptLength),
    };
  }

  private pattern(): RegExp {
    return new RegExp(this.pairs.map(([from]) => from.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|'), 'g');
  }

  private beginsLonger(rest: string): boolean {
    return this.pairs.some(([from]) => from.length > rest.length && from.startsWith(rest));
  }

  /** How many characters at the end may begin a match. */
  private beginningAtEnd(text: string): number {
    const longest = this.pairs[0]?.[0].length ?? 0;
    for (let length = Math.min(longest - 1, text.length); length > 0; length--) {
      const end = text.slice(text.length - length);
      if (this.beginsLonger(end)) return length;
    }
    return 0;
  }

  /** A filter for a stream of output. Progress and prompts pass at once: they are no beginning of a name. */
  stream(): Transform {
    let rest = '';
    const decoder = new TextDecoder();
    const advance = (text: string, isEnd: boolean): string => {
      const split = this.split(rest + text, isEnd);
      rest = split.rest;
      return split.done;
    };
    return new Transform({
      decodeStrings: true,
      transform(chunk: Buffer, _encoding, callback: TransformCallback) {
        callback(null, advance(decoder.decode(chunk, { stream: true }), false));
      },
      flush(callback: TransformCallback) {
        callback(null, advance(decoder.decode(), true));
      },
    });
  }
}
