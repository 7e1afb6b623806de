/** Hands seeds to worker processes, collects results, prints progress, violations and coverage. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Coverage } from './coverage.js';
import type { WorkerResult } from './worker.js';

/** A seed takes well under a second; one that takes this long hangs outside simulated time. */
const SEED_DEADLINE_MS = 120_000;
const PROGRESS_MS = 5000;
/** Most of what a seed makes lives for less than one garbage collection of this size. */
const NURSERY_MB = 32;

export interface CampaignOptions {
  first: number;
  count: number;
  jobs: number;
  kind: string;
  mutant?: string;
  /** Overrides parts of what each seed says; JSON of a part of a SwarmConfig. */
  config: string;
  /** Do not stop at the first violation. */
  keepGoing: boolean;
  /** Begins no seed after this time; 0: until all are done. */
  minutes: number;
  /** Fails when an event that any 200 seeds reach was never reached. */
  requireCoverage: boolean;
  /** The last line is a summary in JSON. */
  json: boolean;
  print: (line: string) => void;
}

/** Resolves with the exit code. */
export async function runCampaign(options: CampaignOptions): Promise<number> {
  const campaign = new Campaign(options);
  await campaign.run();
  return campaign.report();
}

class Campaign {
  private next: number;
  private readonly failures: WorkerResult[] = [];
  private readonly coverage = new Coverage();
  private done = 0;
  private cpuMs = 0;
  private simulatedMs = 0;
  private readonly startedMs = performance.now();

  constructor(private readonly options: CampaignOptions) {
    this.next = options.first;
  }

  async run(): Promise<void> {
    const progress = setInterval(() => this.options.print(this.progressLine()), PROGRESS_MS);
    await Promise.all(Array.from({ length: this.options.jobs }, () => this.keepWorking()));
    clearInterval(progress);
  }

  report(): number {
    const { print, mutant, json } = this.options;
    print(this.progressLine());
    for (const failure of this.failures.slice(0, 10)) this.printFailure(failure);
    for (const line of this.coverage.lines()) print(line);
    if (mutant) return this.reportMutant(mutant);
    const missing = this.coverage.missing();
    for (const name of missing.seldom) print(`never reached: ${name}`);
    for (const name of missing.often) print(`NEVER REACHED: ${name} (any 200 seeds should)`);
    if (json) print(JSON.stringify(this.summary()));
    return this.failures.length > 0 || (this.options.requireCoverage && missing.often.length > 0) ? 1 : 0;
  }

  private reportMutant(mutant: string): number {
    const caught = this.failures[0];
    this.options.print(
      caught
        ? `mutant ${mutant}: caught by seed ${caught.seed}, after ${this.done} seeds`
        : `mutant ${mutant}: SURVIVED ${this.done} seeds`,
    );
    return caught ? 0 : 1;
  }

  private summary() {
    const { first, kind } = this.options;
    const seconds = Math.round((performance.now() - this.startedMs) / 1000);
    const failures = this.failures.map(({ seed, failure }) => ({ seed, failure: failure!.split('\n')[0] }));
    return {
      kind,
      first,
      seeds: this.done,
      seconds,
      cpuMsPerSeed: Math.round(this.cpuMs / Math.max(1, this.done)),
      simulatedSeconds: Math.round(this.simulatedMs / 1000),
      failures,
      missing: this.coverage.missing(),
      coverage: this.coverage.json(),
    };
  }

  /** One worker after the other until no seed is left; a worker ends with a crash or a hang. */
  private async keepWorking(): Promise<void> {
    while (this.hasNext()) await this.workWith(this.spawn());
  }

  private hasNext(): boolean {
    const { first, count, keepGoing, minutes } = this.options;
    if (minutes > 0 && performance.now() - this.startedMs > minutes * 60_000) return false;
    return this.next < first + count && (keepGoing || this.failures.length === 0);
  }

  private spawn(): ChildProcess {
    const { kind, mutant, config } = this.options;
    const main = fileURLToPath(new URL('./main.js', import.meta.url));
    const mutantArguments = mutant ? ['--mutant', mutant] : [];
    return fork(main, ['--worker', '--kind', kind, '--config', config, ...mutantArguments], {
      execArgv: ['--enable-source-maps', `--max-semi-space-size=${NURSERY_MB}`],
    });
  }

  private workWith(child: ChildProcess): Promise<void> {
    return new Promise((resolve) => {
      let seed = -1;
      let deadline: NodeJS.Timeout | undefined;
      const give = (): void => {
        clearTimeout(deadline);
        if (!this.hasNext()) return void child.disconnect();
        seed = this.next++;
        child.send({ seed });
        deadline = setTimeout(() => child.kill('SIGKILL'), SEED_DEADLINE_MS);
      };
      child.on('message', (result: WorkerResult) => {
        seed = -1;
        this.take(result);
        give();
      });
      child.on('exit', (_code, signal) => {
        clearTimeout(deadline);
        if (seed >= 0) this.take(hung(seed, signal));
        resolve();
      });
      give();
    });
  }

  private take(result: WorkerResult): void {
    this.done++;
    this.cpuMs += result.cpuMs;
    this.simulatedMs += result.simulatedMs;
    this.coverage.add(result);
    if (result.failure === undefined) return;
    this.failures.push(result);
    if (this.options.keepGoing) this.options.print(`seed ${result.seed}: ${result.failure.split('\n')[0]}`);
  }

  private progressLine(): string {
    const seconds = (performance.now() - this.startedMs) / 1000;
    const perSeed = (this.cpuMs / Math.max(1, this.done)).toFixed(0);
    const speed = (this.simulatedMs / 1000 / seconds).toFixed(0);
    const bad = this.failures.length;
    const seeds = `${this.done} of ${this.options.count} seeds in ${seconds.toFixed(0)} s`;
    return `${seeds}, ${perSeed} ms CPU each, ${speed} x real time, ${bad} violations`;
  }

  private printFailure(failure: WorkerResult): void {
    const { print, kind, mutant, config } = this.options;
    const how = config === '{}' ? '' : ` --config '${config}'`;
    const more = `--kind ${kind}${mutant ? ` --mutant ${mutant}` : ''}${how}`;
    print(`\nVIOLATION in seed ${failure.seed}:\n${failure.failure}`);
    print(`replay: npm run sim -- --seed ${failure.seed} ${more} -v\n`);
  }
}

function hung(seed: number, signal: string | null): WorkerResult {
  const failure = `the worker ended (${signal ?? 'exit'}): a hang outside simulated time, or a crash`;
  return { seed, failure, traceHash: '', simulatedMs: 0, events: 0, counters: {}, cpuMs: 0 };
}
