/** What was sent and how it was answered, by opcode. */
import { nameOfOpcode, nameOfResult } from '../../src/wire/sheepdog.js';

export class Coverage {
  private readonly sent = new Map<number, number>();
  private readonly results = new Map<number, Map<number, number>>();

  noteSent(opcode: number): void {
    this.sent.set(opcode, (this.sent.get(opcode) ?? 0) + 1);
  }

  noteAnswer(opcode: number, result: number): void {
    const row = this.results.get(opcode) ?? new Map<number, number>();
    row.set(result, (row.get(result) ?? 0) + 1);
    this.results.set(opcode, row);
  }

  get framesSent(): number {
    return sum(this.sent.values());
  }

  get answers(): number {
    return sum([...this.results.values()].map((row) => sum(row.values())));
  }

  /** Opcodes of the protocol that were never sent, or never answered. */
  gaps(opcodes: readonly number[]): { neverSent: number[]; neverAnswered: number[] } {
    return {
      neverSent: opcodes.filter((opcode) => !this.sent.has(opcode)),
      neverAnswered: opcodes.filter((opcode) => this.sent.has(opcode) && !this.results.has(opcode)),
    };
  }

  /** One line for each opcode that has a name, one for all that have none. */
  table(isNamed: (opcode: number) => boolean): string {
    const lines: string[] = [];
    const none = { sent: 0, results: new Map<number, number>() };
    for (let opcode = 0; opcode < 256; opcode++) {
      const sent = this.sent.get(opcode) ?? 0;
      const results = this.results.get(opcode) ?? new Map<number, number>();
      if (isNamed(opcode)) lines.push(row(nameOfOpcode(opcode), sent, results));
      else {
        none.sent += sent;
        for (const [result, n] of results) none.results.set(result, (none.results.get(result) ?? 0) + n);
      }
    }
    lines.push(row('(no such opcode)', none.sent, none.results));
    return ['operation                     sent  answered by result', ...lines].join('\n');
  }
}

function row(name: string, sent: number, results: ReadonlyMap<number, number>): string {
  const answers = [...results]
    .sort(([, a], [, b]) => b - a)
    .map(([result, n]) => `${nameOfResult(result)} ${n}`);
  return `${name.padEnd(25)} ${String(sent).padStart(8)}  ${answers.join(', ')}`;
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const n of numbers) total += n;
  return total;
}
