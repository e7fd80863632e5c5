"""The foundation models of the simulated account, as one table.

Listed are what ListFoundationModels answered in December 2025 (captures fact 42, thinned out) and
what came and went since. Output limits are that answer's own where it had any (`converse`), else
those of public price tables, like the windows. `G` rows are gone: no longer listed, and a call
answers 404. The table knows nothing of behaviour; that is `families.py`.

Columns: id without its vendor, modalities in>out (Text, Image, Video, Speech, Audio, Embedding),
streaming (y, n, - for null), inference types (On-demand D, Provisioned P, profile I, - for none),
life (Active, Legacy, Gone), geographies with a system profile (u us, e eu, p apac, a au, j jp,
i in, g global), context window, output limit (tokens, k = 1000, 0 where it says nothing), name.
"""

TABLE = """\
[ai21] AI21 Labs
j2-mid-v1                         T>T    y D  G -       8191   8191 Jurassic-2 Mid
j2-ultra-v1                       T>T    y D  G -       8191   8191 Jurassic-2 Ultra
jamba-1-5-large-v1:0              T>T    y D  L -       256k   4096 Jamba 1.5 Large
jamba-1-5-mini-v1:0               T>T    y D  L -       256k   4096 Jamba 1.5 Mini
jamba-instruct-v1:0               T>T    y D  G -        70k   4096 Jamba-Instruct
[amazon] Amazon
nova-2-lite-v1:0                  TIV>T  y I  A egjpu  1000k  65535 Nova 2 Lite
nova-2-lite-v1:0:256k             TIV>T  y P  A -      1000k  65535 Nova 2 Lite
nova-2-multimodal-embeddings-v1:0 TIAV>E n D  A -       8172      0 Nova Multimodal Embeddings
nova-2-pro-preview-20251202-v1:0  TIV>T  y DI A epu    1000k    64k Nova 2 Pro (Preview)
nova-2-sonic-v1:0                 S>ST   y D  A -          0      0 Nova 2 Sonic
nova-canvas-v1:0                  TI>I   n DP A -          0      0 Nova Canvas
nova-lite-v1:0                    TIV>T  y DI A epu     300k    10k Nova Lite
nova-lite-v1:0:300k               TIV>T  y P  A -       300k    10k Nova Lite
nova-micro-v1:0                   T>T    y DI A epu     128k    10k Nova Micro
nova-micro-v1:0:128k              T>T    y P  A -       128k    10k Nova Micro
nova-premier-v1:0                 TIV>T  y I  A u      1000k    10k Nova Premier
nova-premier-v1:0:1000k           TIV>T  y -  A -      1000k    10k Nova Premier
nova-premier-v1:0:mm              TIV>T  y -  A -      1000k    10k Nova Premier
nova-pro-v1:0                     TIV>T  y DI A epu     300k    10k Nova Pro
nova-pro-v1:0:300k                TIV>T  y P  A -       300k    10k Nova Pro
nova-reel-v1:1                    TI>V   n D  A -          0      0 Nova Reel
nova-sonic-v1:0                   S>ST   y D  A -          0      0 Nova Sonic
titan-embed-g1-text-02            T>E    - D  A -       8192      0 Titan Text Embeddings v2
titan-embed-image-v1              TI>E   - D  A -        128      0 Titan Multimodal Embeddings G1
titan-embed-text-v1               T>E    n D  A -       8192      0 Titan Embeddings G1 - Text
titan-embed-text-v2:0             T>E    n D  A -       8192      0 Titan Text Embeddings V2
titan-embed-text-v2:0:8k          T>E    n -  A -       8192      0 Titan Text Embeddings V2
titan-image-generator-v2:0        TI>I   - PD A -          0      0 Titan Image Generator G1 v2
titan-text-express-v1             T>T    y D  L -        42k   8000 Titan Text G1 - Express
titan-text-express-v1:0:8k        T>T    y P  L -       8000   8000 Titan Text G1 - Express
titan-text-lite-v1                T>T    y D  L -        42k   4000 Titan Text G1 - Lite
titan-text-premier-v1:0           T>T    y D  G -        42k    32k Titan Text G1 - Premier
[anthropic] Anthropic
claude-3-5-haiku-20241022-v1:0    T>T    y I  A eu      200k   8192 Claude 3.5 Haiku
claude-3-5-sonnet-20240620-v1:0   TI>T   y DI L eu      200k   4096 Claude 3.5 Sonnet
claude-3-5-sonnet-20241022-v2:0   TI>T   y I  L eu      200k   8192 Claude 3.5 Sonnet v2
claude-3-7-sonnet-20250219-v1:0   TI>T   y I  L eu      200k    64k Claude 3.7 Sonnet
claude-3-haiku-20240307-v1:0      TI>T   y D  A -       200k   4096 Claude 3 Haiku
claude-3-haiku-20240307-v1:0:200k TI>T   y P  A -       200k   4096 Claude 3 Haiku
claude-3-haiku-20240307-v1:0:48k  TI>T   y P  A -       200k   4096 Claude 3 Haiku
claude-3-opus-20240229-v1:0       TI>T   y I  L eu      200k   4096 Claude 3 Opus
claude-3-opus-20240229-v1:0:200k  TI>T   y -  L -       200k   4096 Claude 3 Opus
claude-3-sonnet-20240229-v1:0     TI>T   y D  L -       200k   4096 Claude 3 Sonnet
claude-fable-5                    TI>T   y I  A aegpu  1000k   128k Claude Fable 5
claude-fable-5-1                  TI>T   y I  A egu    1000k   128k Claude Fable 5.1
claude-haiku-4-5-20251001-v1:0    TI>T   y I  A aegjpu  200k    64k Claude Haiku 4.5
claude-haiku-5-5                  TI>T   y I  A aegjpu 1000k   128k Claude Haiku 5.5
claude-instant-v1                 T>T    y D  G -       100k   8191 Claude Instant
claude-mythos-5                   TI>T   y I  A u      1000k   128k Claude Mythos 5
claude-mythos-5-1                 TI>T   y I  A gu     1000k   128k Claude Mythos 5.1
claude-mythos-preview             TI>T   y I  A apu    1000k   128k Claude Mythos (Preview)
claude-opus-4-1-20250805-v1:0     TI>T   y I  L eu      200k    32k Claude Opus 4.1
claude-opus-4-20250514-v1:0       TI>T   y I  L eu      200k    32k Claude Opus 4
claude-opus-4-5-20251101-v1:0     TI>T   y I  A egu     200k    64k Claude Opus 4.5
claude-opus-4-6-v1                TI>T   y I  A aegu   1000k   128k Claude Opus 4.6
claude-opus-4-7                   TI>T   y I  A aegjpu 1000k   128k Claude Opus 4.7
claude-opus-4-8                   TI>T   y I  A aegjpu 1000k   128k Claude Opus 4.8
claude-opus-5                     TI>T   y I  A aegjpu 1000k   128k Claude Opus 5
claude-opus-5-5                   TI>T   y I  A aegjpu 1000k   128k Claude Opus 5.5
claude-sonnet-4-20250514-v1:0     TI>T   y I  A egpu    200k  65536 Claude Sonnet 4
claude-sonnet-4-5-20250929-v1:0   TI>T   y I  A aegju   200k    64k Claude Sonnet 4.5
claude-sonnet-4-6                 TI>T   y I  A aegjpu 1000k    64k Claude Sonnet 4.6
claude-sonnet-5                   TI>T   y I  A aegjpu 1000k   128k Claude Sonnet 5
claude-sonnet-5-5                 TI>T   y I  A aegjpu 1000k   128k Claude Sonnet 5.5
claude-v1                         T>T    y D  G -       100k   8191 Claude
claude-v2                         T>T    y D  L -       100k   8191 Claude
claude-v2:1                       T>T    y D  L -       100k   8191 Claude
[cohere] Cohere
command-light-text-v14            T>T    y D  G -       4096   4096 Command Light
command-r-plus-v1:0               T>T    y D  A -       128k   4000 Command R+
command-r-v1:0                    T>T    y D  A -       128k   4000 Command R
command-text-v14                  T>T    y D  G -       4096   4096 Command
embed-english-v3                  T>E    n D  A -        512      0 Embed English
embed-multilingual-v3             T>E    n D  A -        512      0 Embed Multilingual
embed-v4:0                        TI>E   n DI A gu      128k      0 Embed v4
rerank-v3-5:0                     T>T    n D  A -          0      0 Rerank 3.5
[deepseek] DeepSeek
r1-v1:0                           T>T    y I  A u       128k   8192 DeepSeek-R1
v3-v1:0                           T>T    y D  A -       128k   8000 DeepSeek-V3.1
v3.2                              T>T    y DI A eu      164k   8000 DeepSeek V3.2
[google] Google
gemma-3-12b-it                    TI>T   y D  A -       128k 131072 Gemma 3 12B IT
gemma-3-27b-it                    TI>T   y D  A -       128k 131072 Gemma 3 27B PT
gemma-3-4b-it                     TI>T   y D  A -       128k 131072 Gemma 3 4B IT
[meta] Meta
llama2-13b-chat-v1                T>T    y D  G -       4096   4096 Llama 2 Chat 13B
llama2-70b-chat-v1                T>T    y D  G -       4096   4096 Llama 2 Chat 70B
llama3-1-405b-instruct-v1:0       T>T    y I  L u       128k   4096 Llama 3.1 405B Instruct
llama3-1-70b-instruct-v1:0        T>T    y I  A u       128k   4096 Llama 3.1 70B Instruct
llama3-1-8b-instruct-v1:0         T>T    y I  A u       128k   4096 Llama 3.1 8B Instruct
llama3-2-11b-instruct-v1:0        TI>T   y I  L u       128k   4096 Llama 3.2 11B Instruct
llama3-2-1b-instruct-v1:0         T>T    y DI L eu      128k   4096 Llama 3.2 1B Instruct
llama3-2-3b-instruct-v1:0         T>T    y I  L eu      128k   4096 Llama 3.2 3B Instruct
llama3-2-90b-instruct-v1:0        TI>T   y I  L u       128k   4096 Llama 3.2 90B Instruct
llama3-3-70b-instruct-v1:0        T>T    y I  A u       128k   4096 Llama 3.3 70B Instruct
llama3-70b-instruct-v1:0          T>T    y D  A -       8192   8192 Llama 3 70B Instruct
llama3-8b-instruct-v1:0           T>T    y D  A -       8192   8192 Llama 3 8B Instruct
llama4-maverick-17b-instruct-v1:0 TI>T   y I  A u      1000k   8192 Llama 4 Maverick 17B Instruct
llama4-scout-17b-instruct-v1:0    TI>T   y I  A u     10000k   8192 Llama 4 Scout 17B Instruct
[minimax] MiniMax
minimax-m2                        T>T    y D  A -      1000k 409600 MiniMax M2
minimax-m2.1                      T>T    y D  A -       196k   8000 MiniMax M2.1
minimax-m2.5                      T>T    y D  A -       196k   8000 MiniMax M2.5
[mistral] Mistral AI
devstral-2-123b                   T>T    y D  A -       256k    32k Devstral 2 123B
magistral-small-2509              TI>T   y D  A -       128k 131072 Magistral Small 2509
ministral-3-14b-instruct          TI>T   y D  A -       128k 262144 Ministral 14B 3.0
ministral-3-3b-instruct           TI>T   y D  A -       128k 262144 Ministral 3B
ministral-3-8b-instruct           TI>T   y D  A -       128k 262144 Ministral 3 8B
mistral-7b-instruct-v0:2          T>T    y D  A -        32k   4096 Mistral 7B Instruct
mistral-large-2402-v1:0           T>T    y D  A -        32k   4096 Mistral Large (24.02)
mistral-large-2407-v1:0           T>T    y D  A -       128k   8191 Mistral Large (24.07)
mistral-large-3-675b-instruct     TI>T   y D  A -       256k 262144 Mistral Large 3
mistral-small-2402-v1:0           T>T    y D  A -        32k   4096 Mistral Small (24.02)
mixtral-8x7b-instruct-v0:1        T>T    y D  A -        32k   4096 Mixtral 8x7B Instruct
pixtral-large-2502-v1:0           TI>T   y I  A eu      128k  16384 Pixtral Large (25.02)
voxtral-mini-3b-2507              ST>T   y D  A -      32768  32768 Voxtral Mini 3B 2507
voxtral-small-24b-2507            ST>T   y D  A -      32768  32768 Voxtral Small 24B 2507
[moonshot] Moonshot AI
kimi-k2-thinking                  T>T    y D  A -       256k 262144 Kimi K2 Thinking
[moonshotai] Moonshot AI
kimi-k2.5                         TI>T   y D  A -       256k    16k Kimi K2.5
kimi-k3                           TI>T   y DI A giu    1000k 131072 Kimi K3
[nvidia] NVIDIA
nemotron-nano-12b-v2              TI>T   y D  A -       128k 131072 NVIDIA Nemotron Nano 12B v2 VL
nemotron-nano-3-30b               T>T    y D  A -       256k 262144 Nemotron Nano 3 30B
nemotron-nano-9b-v2               T>T    y D  A -       128k 131072 NVIDIA Nemotron Nano 9B v2
nemotron-super-3-120b             T>T    y D  A -       256k    32k NVIDIA Nemotron 3 Super 120B
[openai] OpenAI
gpt-5.4                           TI>T   y I  A gu      922k   128k GPT-5.4
gpt-5.5                           TI>T   y I  A gu      922k   128k GPT-5.5
gpt-5.6-luna                      TI>T   y I  A gu      922k   128k GPT-5.6 Luna
gpt-5.6-sol                       TI>T   y I  A gu      922k   128k GPT-5.6 Sol
gpt-5.6-terra                     TI>T   y I  A gu      922k   128k GPT-5.6 Terra
gpt-6-astra                       TI>T   y I  A gu      922k   128k GPT-6 Astra
gpt-6-luna                        TI>T   y I  A gu      922k   128k GPT-6 Luna
gpt-6-sol                         TI>T   y I  A gu      922k   128k GPT-6 Sol
gpt-6.1-sol                       TI>T   y I  A gu     1000k 131072 GPT-6.1 Sol
gpt-6.1-terra                     TI>T   y I  A gu      922k   128k GPT-6.1 Terra
gpt-oss-120b-1:0                  T>T    y D  A -       128k   128k gpt-oss-120b
gpt-oss-20b-1:0                   T>T    y D  A -       128k   128k gpt-oss-20b
gpt-oss-safeguard-120b            T>T    y D  A -       128k 131072 GPT OSS Safeguard 120B
gpt-oss-safeguard-20b             T>T    y D  A -       128k 131072 GPT OSS Safeguard 20B
[qwen] Qwen
qwen3-235b-a22b-2507-v1:0         T>T    y D  A -     262144   8192 Qwen3 235B A22B 2507
qwen3-32b-v1:0                    T>T    y D  A -      32768  32768 Qwen3 32B (dense)
qwen3-coder-30b-a3b-v1:0          T>T    y D  A -     262144 262144 Qwen3-Coder-30B-A3B-Instruct
qwen3-coder-480b-a35b-v1:0        T>T    y D  A -     262144  16384 Qwen3-Coder-480B-A35B-Instruct
qwen3-coder-next                  T>T    y D  A -       256k    16k Qwen3 Coder Next
qwen3-next-80b-a3b                T>T    y D  A -       256k 262144 Qwen3 Next 80B A3B
qwen3-vl-235b-a22b                TI>T   y D  A -       256k 262144 Qwen3 VL 235B A22B
[stability] Stability AI
stable-conservative-upscale-v1:0  TI>I   n I  A u          0      0 Stable Conservative Upscale
stable-image-inpaint-v1:0         TI>I   n I  A u          0      0 Stable Image Inpaint
[twelvelabs] TwelveLabs
marengo-embed-2-7-v1:0            TISV>E n I  A eu        77      0 Marengo Embed v2.7
marengo-embed-3-0-v1:0            TISV>E n ID A eu       500      0 Marengo Embed 3.0
pegasus-1-2-v1:0                  TV>T   y ID A egu     1000   4096 Pegasus v1.2
[writer] Writer
palmyra-vision-7b                 TI>T   y D  A -       4096   4096 Palmyra Vision 7B
palmyra-x4-v1:0                   T>T    y I  A u       128k   8192 Palmyra X4
palmyra-x5-v1:0                   T>T    y I  A u       128k   8192 Palmyra X5
[xai] xAI
grok-4.6                          TI>T   y I  A gu      500k   500k Grok 4.6
grok-4.7                          TI>T   y I  A gu    524288 524288 Grok 4.7
[zai] Z.AI
glm-4.7                           T>T    y D  A -       203k   128k GLM 4.7
glm-4.7-flash                     T>T    y D  A -       203k   128k GLM 4.7 Flash
glm-5                             T>T    y D  A -       200k   128k GLM 5
glm-5.3                           T>T    y I  A gu     1000k   128k GLM 5.3
"""
