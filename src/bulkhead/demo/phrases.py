"""Words of the demonstration's mail: invented people, subjects and sentences, Japanese and English."""

from typing import Final

NAMES_JA: Final = (
    "佐藤 太郎",
    "鈴木 花子",
    "高橋 一郎",
    "田中 美咲",
    "伊藤 健",
    "渡辺 さくら",
    "山本 次郎",
    "中村 由美",
)
NAMES_EN: Final = ("Alice Morgan", "Ben Carter", "Chloe Nguyen", "Daniel Okafor", "Emma Larsen", "Felix Braun")

SUBJECTS_JA: Final = (
    "会議の日程について",
    "【重要】システムメンテナンスのお知らせ",
    "先日はありがとうございました",
    "ご請求書の送付",
    "週末の予定はどうですか？",
    "写真を送ります",
    "Re: 見積もりの件",
    "①資料 ②議事録 №3 の送付",
    "ｻﾎﾟｰﾄｾﾝﾀｰからのｺﾞ案内",
)
SUBJECTS_EN: Final = (
    "Meeting notes",
    "Re: Contract draft, second round",
    "Your invoice for November",
    "Photos from the weekend",
    "Fwd: Travel plans",
    "Maintenance window on Sunday",
    'The "final" version (really)',
)
SENTENCES_JA: Final = (
    "お世話になっております。",
    "来週の会議は水曜日の十時からに変更になりました。",
    "添付の資料をご確認いただけますでしょうか。",
    "ご不明な点がございましたら、お気軽にお問い合わせください。",
    "先日お話しした件ですが、無事に完了いたしました。",
    "会場は①本社②支社のどちらでも構いません。",
    "ﾒｰﾙの設定についてはｻﾎﾟｰﾄまでご連絡ください。",
    "料金は月額㍻㈱№の表をご覧ください。",
    "それでは、どうぞよろしくお願いいたします。",
    "今年の紅葉は例年より少し遅いようです。",
)
SENTENCES_EN: Final = (
    "Thanks for getting back to me so quickly.",
    "I moved the meeting to Wednesday at ten; the room stays the same.",
    "Please look at the attached draft and tell me what you think.",
    "From what I hear, the delivery will be two days late.",
    "The numbers for October are better than we expected.",
    ". A line that begins with a dot must arrive with exactly one.",
    "Could you send me the photos from last weekend?",
    "Let me know if Thursday works for you.",
    "There is no hurry; next week is early enough.",
)
AGENTS: Final = (
    "Mozilla Thunderbird",
    "Becky! ver. 2.81.08 [ja]",
    "Apple Mail (2.3826.300.87)",
    "Microsoft Outlook 16.0",
    "Shuriken 2018",
)
