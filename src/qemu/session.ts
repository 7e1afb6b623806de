import type { VdiInfo } from '../control/api.js';
import { type ImageName, isImageName, NameError, parseImageName, serverText } from './name.js';
import { exportOf, nbdOptions, nbdUrl, printedNbdUrl } from './nbd-door.js';
import { findRealTool, type RunOptions, type RunResult, runRealTool } from './real-tool.js';
import { Sheep } from './sheep.js';
import * as structured from './structured.js';
import { Substitutions } from './substitution.js';
import { couldNotOpen, ToolError } from './tool-error.js';

/** A word of the command line that stands for an image, and what the real tool gets in its place. */
export interface Image {
  /** As the user wrote it. */
  readonly text: string;
  readonly word: string;
  /** Undefined for images that are not ours. */
  readonly volume: Volume | undefined;
}

export interface Volume {
  readonly name: ImageName;
  readonly vdi: VdiInfo;
  readonly sheep: Sheep;
  /** Where QEMU finds the volume, as it takes it. */
  readonly url: string;
  /** The same as it prints it: nothing is escaped. */
  readonly printedUrl: string;
}

export interface ImageOptions {
  /** The word is a list of options (--image-opts). */
  readonly isOptions?: boolean;
  /** The format was said to be "sheepdog": the driver itself is wanted, without a format on top. */
  readonly isDriver?: boolean;
  /** Somebody else who has it open for writing is in the way. */
  readonly isForWriting?: boolean;
}

/** One run of a tool: the sheep it has talked to, and what its words stand for. */
export class Session {
  private readonly substitutions = new Substitutions();
  private readonly sheep = new Map<string, Promise<Sheep>>();
  private readonly realTool: string;
  /** Id of the --object that holds TLS credentials, for sheep that ask for them. */
  tlsCreds: string | undefined;

  constructor(
    readonly tool: string,
    env: Readonly<Record<string, string | undefined>>,
  ) {
    this.realTool = findRealTool(tool, env);
  }

  /** Rejects with ToolError; connections are kept for the whole run. */
  connect(name: ImageName): Promise<Sheep> {
    const key = serverText(name.server);
    const known = this.sheep.get(key) ?? Sheep.connect(name.server);
    this.sheep.set(key, known);
    return known;
  }

  /** What stands for an image that exists. Rejects with ToolError `Could not open '...'`. */
  open(text: string, options: ImageOptions = {}): Promise<Image> {
    return this.orCouldNot(text, () => this.resolve(text, options));
  }

  /** As `open`, for a text that means something else than it says. */
  openName(text: string, name: ImageName, options: ImageOptions = {}): Promise<Image> {
    return this.orCouldNot(text, () => this.imageOf(text, name, options));
  }

  private async orCouldNot(text: string, work: () => Promise<Image>): Promise<Image> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof NameError || error instanceof ToolError)) throw error;
      throw new ToolError(couldNotOpen(text, error.message), 1, { cause: error });
    }
  }

  private async resolve(text: string, options: ImageOptions): Promise<Image> {
    if (options.isOptions === true) {
      return this.replaceParts(
        text,
        structured.parseImageOptions(text),
        structured.formatImageOptions,
        options,
      );
    }
    const json = structured.parseJsonName(text);
    if (json !== undefined) return this.replaceParts(text, json, structured.formatJsonName, options);
    if (!isImageName(text)) return { text, word: text, volume: undefined };
    return this.imageOf(text, parseImageName(text), options);
  }

  private async imageOf(text: string, name: ImageName, options: ImageOptions): Promise<Image> {
    const volume = await this.findVolume(name, options);
    // The volume is the file; what format it holds is guessed or said by -f, as ever.
    const prefix = options.isDriver === true ? '' : 'file.';
    const pairs = this.optionsOf(volume).map(([key, value]) => [prefix + key, value] as const);
    const word = structured.formatJsonName(new Map(pairs));
    this.note(word, text, volume);
    return { text, word, volume };
  }

  private async replaceParts(
    text: string,
    options: structured.FlatOptions,
    format: (options: structured.FlatOptions) => string,
    imageOptions: ImageOptions,
  ): Promise<Image> {
    let replaced = options;
    let volume: Volume | undefined;
    for (const part of structured.imageParts(options)) {
      volume = await this.findVolume(part.name, imageOptions);
      replaced = structured.replacePart(replaced, part, this.optionsOf(volume));
    }
    if (volume === undefined) return { text, word: text, volume };
    const word = format(replaced);
    this.note(word, text, volume);
    return { text, word, volume };
  }

  private async findVolume(name: ImageName, options: ImageOptions): Promise<Volume> {
    const sheep = await this.connect(name);
    const vdi = await sheep.find(name);
    if (options.isForWriting === true && !vdi.snapshot) await sheep.refuseLocked(name);
    return this.volumeOf(name, sheep, vdi);
  }

  volumeOf(name: ImageName, sheep: Sheep, vdi: VdiInfo): Volume {
    const place = exportOf(name.server, sheep.doors, vdi);
    return { name, vdi, sheep, url: nbdUrl(place), printedUrl: printedNbdUrl(place) };
  }

  private optionsOf({ name, vdi, sheep }: Volume): [string, string][] {
    if (sheep.doors.nbdTls === 'require' && this.tlsCreds === undefined) {
      throw new ToolError("the sheep's NBD door requires TLS: give credentials with --object tls-creds-...");
    }
    const tlsCreds = sheep.doors.nbdTls === 'off' ? undefined : this.tlsCreds;
    return nbdOptions(exportOf(name.server, sheep.doors, vdi), tlsCreds);
  }

  /** From now on `word` and the volume's URL are printed as `text`. */
  note(word: string, text: string, volume: Volume): void {
    this.substitutions.add(word, text);
    this.substitutions.add(JSON.stringify(word).slice(1, -1), JSON.stringify(text).slice(1, -1));
    this.substitutions.add(volume.url, text);
    this.substitutions.add(volume.printedUrl, text);
  }

  run(words: readonly string[], output: RunOptions['output']): Promise<RunResult> {
    return runRealTool(this.realTool, words, { substitutions: this.substitutions, output });
  }

  /** The text with what the user wrote in place of what we gave. */
  putBack(text: string): string {
    return this.substitutions.apply(text);
  }

  async close(): Promise<void> {
    const all = await Promise.allSettled(this.sheep.values());
    for (const one of all) if (one.status === 'fulfilled') one.value.close();
  }
}
