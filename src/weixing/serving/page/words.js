/* Everything that the page says, in English and Chinese. */

const ENGLISH = {
  skip: "To the content",
  sections: "Sections",
  other: "中文",
  fillMask: "Fill-mask",
  similarity: "Similarity",
  classify: "Classify",
  family: "Family",
  runs: "Curves",
  reference: "API reference",
  metrics: "metrics",
  model: "Model",
  compareWith: "Compare with",
  none: "none",
  loading: "Loading the models …",
  fillMaskLead: "Click a character to mask it. The model says what could stand there, and how likely each is.",
  sentence: "Sentence",
  examples: "Examples",
  characters: "Characters of the sentence",
  charactersHelp: "Enter or Space masks a character, arrow keys move. What you type as [MASK] is masked as well.",
  candidates: "Candidates",
  nothingTyped: "Type a sentence, or take an example.",
  noMask: "No character is masked. Click one.",
  blank: (number) => `Blank ${number}`,
  character: (text, number) => `${text}, character ${number}`,
  maskedCharacter: (text, number) => `${text}, masked, character ${number}`,
  typedMask: (number) => `[MASK], character ${number}`,
  take: (text, share) => `Put in ${text}, ${share}`,
  cut: (read) => `This blank lies behind what the model reads: its first ${read} tokens.`,
  said: (what, text, share) => `${what}: ${text}, ${share}.`,
  similarityLead: "How near the vectors of sentences are: the cosine, 1 for the same direction.",
  sentences: "Sentences, one a line",
  pooling: "Vector",
  mean: "mean of the tokens",
  fewSentences: "Two sentences at least, one a line.",
  manySentences: (most) => `${most} sentences at most.`,
  heatMap: (model) => `Cosines of the sentences, ${model}`,
  nearest: (a, b, cosine) => `Nearest: ${a} and ${b} (${cosine}).`,
  scaleOf: (low, high) => `Colours from ${low} to ${high}.`,
  classifyLead: "What a fine-tuned model calls a text, and how likely each label is.",
  texts: "Texts, one a line",
  secondTexts: "Second texts, for pairs, one a line",
  noTexts: "Type a text.",
  unequal: (first, second) => `${first} texts, but ${second} second ones: they must be as many, or none.`,
  noClassifier: "None of the models here is a classifier. Make one and serve it:",
  familyLead: "Six depths by four widths. Choose a shape to see what is known of it.",
  colouredBy: "Coloured by",
  layers: "layers",
  hidden: "hidden units",
  noNumber: "no number",
  parameters: "Parameters",
  size: "Size, float32",
  compute: "Compute for a token",
  published: "Published scores, %",
  score: "mean of six",
  hub: "On the hub",
  served: "Served here as",
  servedMark: "● served here.",
  scoreFrom: "Score of",
  shapeLabel: (shape, text) => `${shape}: ${text}`,
  runsLead: "Pretraining runs, as they report themselves.",
  reading: "Quantity",
  train_loss: "loss",
  eval_accuracy: "held-out accuracy",
  learning_rate: "learning rate",
  grad_norm: "gradient norm",
  tokens_per_second: "tokens a second",
  horizontal: "x axis",
  step: "steps",
  steps: "steps",
  tokens: "tokens",
  seconds: "seconds",
  secondsOf: "seconds",
  logX: "log x",
  logY: "log y",
  live: "live",
  runList: "Runs",
  run: "Run",
  shape: "Shape",
  recipe: "Recipe",
  trainLoss: "Loss",
  evalLoss: "Held-out loss",
  state: "State",
  finished: "finished",
  running: "not finished",
  progress: (done, all) => `${done} of ${all}`,
  noRuns: "No runs are shown. Name their folders when the service is started:",
  noReadings: "There is nothing to draw yet.",
  heldOut: "dots: held-out data",
  chart: (reading, runs) => `${reading} of ${runs}. Arrow keys read the values.`,
  howToRead: "Point at the chart, or use the arrow keys, to read values.",
  at: (value, unit) => `At ${value} ${unit}:`,
  token: "Token",
  useToken: "Use it",
  needsToken: "This service asks for a token.",
  wrongToken: "That is not the token. Try another.",
  gone: "The service does not answer. It may have been stopped.",
  busy: "The service is busy.",
  notReady: "The model is not ready yet.",
  tooSlow: "No answer came in time. Try fewer or shorter texts.",
  tooLarge: "That is too much text for one request.",
  tooLong: (count, most) => `A text is too long: ${count} characters, of at most ${most}.`,
  tooMany: (count, most) => `Too many texts: ${count}, of at most ${most}.`,
  behind: (count) => `The masked characters lie behind the first ${count} tokens, which is all that the model reads.`,
  refused: (message, accepted) => `The service refuses this: ${message}.${accepted ? ` Accepted: ${accepted}.` : ""}`,
  fault: "Something is wrong with the service; its log says more.",
  again: (seconds) => `Trying again in ${seconds} s.`,
  retry: "Try now",
};

const CHINESE = {
  skip: "跳到正文",
  sections: "栏目",
  other: "English",
  fillMask: "完形填空",
  similarity: "相似度",
  classify: "分类",
  family: "模型家族",
  runs: "训练曲线",
  reference: "接口文档",
  metrics: "运行指标",
  model: "模型",
  compareWith: "对照",
  none: "无",
  loading: "正在加载模型……",
  fillMaskLead: "点一个字把它遮住，模型会给出这里可能的字，以及各自的概率。",
  sentence: "句子",
  examples: "例句",
  characters: "句中各字",
  charactersHelp: "按回车或空格遮住一个字，方向键移动。也可以直接输入 [MASK]。",
  candidates: "候选数",
  nothingTyped: "请输入一句话，或选一个例句。",
  noMask: "还没有遮住任何字，请点一个。",
  blank: (number) => `第 ${number} 空`,
  character: (text, number) => `${text}，第 ${number} 字`,
  maskedCharacter: (text, number) => `${text}，已遮住，第 ${number} 字`,
  typedMask: (number) => `[MASK]，第 ${number} 字`,
  take: (text, share) => `填入“${text}”，${share}`,
  cut: (read) => `这一空超出了模型的阅读范围（前 ${read} 个词元）。`,
  said: (what, text, share) => `${what}：${text}，${share}。`,
  similarityLead: "各句向量有多接近：以余弦衡量，方向相同为 1。",
  sentences: "句子，每行一句",
  pooling: "句向量",
  mean: "各词元平均",
  fewSentences: "请至少输入两句，每行一句。",
  manySentences: (most) => `最多 ${most} 句。`,
  heatMap: (model) => `各句之间的余弦，${model}`,
  nearest: (a, b, cosine) => `最接近：第 ${a} 句与第 ${b} 句（${cosine}）。`,
  scaleOf: (low, high) => `颜色由 ${low} 到 ${high}。`,
  classifyLead: "微调后的模型给文本贴上什么标签，各标签的概率是多少。",
  texts: "文本，每行一条",
  secondTexts: "第二句，句对任务才填，每行一条",
  noTexts: "请输入一条文本。",
  unequal: (first, second) => `文本有 ${first} 条，第二句却有 ${second} 条：两者应当一样多，或不填第二句。`,
  noClassifier: "这里没有分类模型。可以先微调一个，再启动服务：",
  familyLead: "六种层数 × 四种宽度。选一种规模，看它的详情。",
  colouredBy: "颜色表示",
  layers: "层数",
  hidden: "隐藏单元",
  noNumber: "无数据",
  parameters: "参数量",
  size: "大小（float32）",
  compute: "每词元计算量",
  published: "公开成绩（%）",
  score: "六项平均",
  hub: "模型库名称",
  served: "此处的名称",
  servedMark: "● 为此处提供的模型。",
  scoreFrom: "成绩来自",
  shapeLabel: (shape, text) => `${shape}：${text}`,
  runsLead: "各次预训练报告的指标。",
  reading: "指标",
  train_loss: "损失",
  eval_accuracy: "留出集准确率",
  learning_rate: "学习率",
  grad_norm: "梯度范数",
  tokens_per_second: "每秒词元数",
  horizontal: "横轴",
  step: "步",
  steps: "步数",
  tokens: "词元数",
  seconds: "秒",
  secondsOf: "秒数",
  logX: "横轴取对数",
  logY: "纵轴取对数",
  live: "实时更新",
  runList: "各次训练",
  run: "训练",
  shape: "规模",
  recipe: "配方",
  trainLoss: "损失",
  evalLoss: "留出集损失",
  state: "状态",
  finished: "已完成",
  running: "未完成",
  progress: (done, all) => `${done} / ${all}`,
  noRuns: "没有可显示的训练。启动服务时请指明训练目录：",
  noReadings: "还没有可画的数据。",
  heldOut: "圆点为留出集",
  chart: (reading, runs) => `${runs}的${reading}。用方向键读数。`,
  howToRead: "把指针移到图上，或用方向键，即可读数。",
  at: (value, unit) => `${value} ${unit}处：`,
  token: "令牌",
  useToken: "确定",
  needsToken: "此服务需要令牌。",
  wrongToken: "令牌不对，请再试。",
  gone: "服务没有应答，可能已经停止。",
  busy: "服务正忙。",
  notReady: "模型尚未就绪。",
  tooSlow: "未能及时得到结果。请减少文本，或缩短一些。",
  tooLarge: "一次请求的文字太多了。",
  tooLong: (count, most) => `文本太长：${count} 个字符，最多 ${most} 个。`,
  tooMany: (count, most) => `文本太多：${count} 条，最多 ${most} 条。`,
  behind: (count) => `遮住的字在前 ${count} 个词元之后，模型读不到那里。`,
  refused: (message, accepted) => `服务不接受：${message}。${accepted ? `可接受：${accepted}。` : ""}`,
  fault: "服务出了故障，详见它的日志。",
  again: (seconds) => `${seconds} 秒后重试。`,
  retry: "立即重试",
};

export const WORDS = { en: ENGLISH, zh: CHINESE };
const TAGS = { en: "en", zh: "zh-Hans" };
const KEPT = "weixing-language";

let current = "en";

export const language = () => current;

/** What is said, with values where it has places for some. */
export function w(key, ...values) {
  const said = WORDS[current][key];
  return typeof said === "function" ? said(...values) : said;
}

/** The language that a person chose before, else the browser's. */
export function preferred() {
  const kept = memory(() => localStorage.getItem(KEPT));
  return kept in WORDS ? kept : navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** Say everything in this language from now on. */
export function speak(chosen, keep = false) {
  current = chosen;
  if (keep) memory(() => localStorage.setItem(KEPT, chosen));
  document.documentElement.lang = TAGS[chosen];
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = w(element.dataset.word);
  const other = document.querySelector("#language");
  other.textContent = w("other");
  other.lang = TAGS[chosen === "zh" ? "en" : "zh"];
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", w(element.dataset.label));
  }
}

/** A number as people write it in this language. */
export const number = (value, options = {}) => new Intl.NumberFormat(TAGS[current], options).format(value);

export const percent = (share) =>
  number(share, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** What a browser keeps, or null where it keeps nothing. */
export function memory(use) {
  try {
    return use();
  } catch {
    return null;
  }
}
